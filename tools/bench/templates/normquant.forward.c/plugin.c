/* A fused norm of your own in C: batch normalization, what is added to it, and the quantizers behind, in one
 * pass. `make` builds it; it is right as it is, and slow.
 *
 *   make test      is it right, and how fast is it?
 *   make compare   beside the fastest kernel there is
 *   make train     (see the Makefile) trains a small network with it
 *
 * What to compute: z = norm(x) + residual, codes = z/step rounded and clamped to [0, qp], and what the
 * identity path reads of z. plugin.h says where the operands are. Where your z differs in its last bits from
 * the one below, a code next to a tie may be its neighbour: that is counted and passes. */
#include "plugin.h"

#include <math.h>

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_normquant_shape* s = shape;
  (void)self;
  return s->norm.type == RTFQ_F32 ? NULL : "takes f32 only";
}

/* The norm of element i, which is one of channel c, by the statistics and parameters of its segment. */
static float normalized(const rtfq_normquant_input* in, const rtfq_batchnorm_shape* s, int32_t segment,
                        int64_t i, int64_t c) {
  const int64_t at = segment * s->c + c;
  const float factor = 1.0f / sqrtf(in->variance[at] + s->epsilon) * in->scale[segment][c];
  return fmaf(((const float*)in->x)[i] - in->mean[at], factor, in->shift[segment][c]);
}

/* The declared rounding: multiply by the reciprocal, ties to even. fmaxf answers 0 for a NaN. */
static uint8_t code(float z, float step, int32_t qp) {
  return (uint8_t)rintf(fminf(fmaxf(z * (1.0f / step), 0.0f), (float)qp));
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_normquant_shape* s = shape;
  const rtfq_normquant_forward_args* a = args;
  const rtfq_batchnorm_shape* norm = &s->norm;
  (void)self, (void)state, (void)stream;
#pragma omp parallel for
  for (int64_t image = 0; image < norm->n; ++image) {
    int32_t segment = 0;
    while (image >= norm->segment_end[segment]) ++segment;
    for (int64_t pixel = image * norm->hw; pixel < (image + 1) * norm->hw; ++pixel)
      for (int64_t c = 0; c < norm->c; ++c) {
        const int64_t i = pixel * norm->c + c;
        float z = normalized(&a->in.main, norm, segment, i, c);
        if (s->residual == RTFQ_RESIDUAL_VALUES) z += ((const float*)a->in.residual)[i];
        if (s->residual == RTFQ_RESIDUAL_CODES)
          z += (float)((const uint8_t*)a->in.residual)[i] * *a->in.residual_step;
        if (s->residual == RTFQ_RESIDUAL_NORM) z += normalized(&a->in.other, norm, segment, i, c);
        a->codes[i] = code(z, *a->in.step, s->qp);
        if (s->identity == RTFQ_IDENTITY_CODES)
          ((uint8_t*)a->identity)[i] = code(z, *a->in.identity_step, s->identity_qp);
        if (s->identity == RTFQ_IDENTITY_VALUES) ((float*)a->identity)[i] = fmaxf(z, 0.0f);
      }
  }
  return 0;
}

static const rtfq_operator op = {
    .family = "@FAMILY@",
    .name = "mine",
    .device = RTFQ_CPU,
    .scaling = RTFQ_RECIPROCAL, /* or RTFQ_DIVISION, RTFQ_EXACT: what you declare is what you are held to */
    .ties = RTFQ_TIES_EVEN,
    .unsupported = unsupported,
    .launch = launch,
};

static const rtfq_operator* const operators[] = {&op};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "mine", "1", 1, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
