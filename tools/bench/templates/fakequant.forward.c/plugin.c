/* A fake-quant kernel of your own in C. `make` builds it; it is right as it is, and slow.
 *
 *   make test      is it right, and how fast is it?
 *   make compare   beside the fastest kernel there is
 *   make train     (see the Makefile) trains a small network with it
 *
 * What to compute: v = x/step, code = v rounded to the nearest integer and clamped to [-qn, qp], y = code*step. A NaN
 * takes the lowest code. plugin.h says where the operands are; `unsupported` may refuse what you do not want to do. */
#include <math.h>

#include "plugin.h"

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_fakequant_shape* s = shape;
  (void)self;
  return s->type == RTFQ_F32 ? NULL : "takes f32 only";
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_fakequant_forward_args* a = args;
  const float low = (float)-s->qn, high = (float)s->qp;
  int64_t out = 0; /* results are dense */
  (void)self, (void)state, (void)stream;
  for (int64_t row = 0; row < s->rows; ++row) {
    const float step = a->step[s->per_row ? row : 0], r = 1.0f / step;
    for (int64_t group = 0; group < s->groups; ++group) {
      const float* x = (const float*)a->x + row * s->row_stride + group * s->group_stride;
      for (int64_t i = 0; i < s->cols; ++i, ++out) {
        /* The declared rounding: multiply by the reciprocal, ties to even. fmaxf answers `low` for a NaN. */
        const int code = (int)rintf(fminf(fmaxf(x[i] * r, low), high));
        if (a->y) ((float*)a->y)[out] = (float)code * step;
        if (a->codes) ((uint8_t*)a->codes)[out] = (uint8_t)code; /* the byte of an int8_t where codes are signed */
      }
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
