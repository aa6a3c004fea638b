/* The fused norms as their contract says, and one forward pass for each of: z by another order of roundings; codes that
 * clamp one too late; a residual that is forgotten. */
#include <math.h>
#include <string.h>

#include "kernels/plugin.h"

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  (void)self;
  return ((const rtfq_normquant_shape*)shape)->norm.type == RTFQ_F32 ? NULL : "takes f32 only";
}

struct element {
  int32_t segment;
  int64_t i, c, at; /* its place, channel and place in [segments][c] */
};

static float factor(const rtfq_normquant_input* in, const rtfq_batchnorm_shape* s, struct element e) {
  return 1.0f / sqrtf(in->variance[e.at] + s->epsilon) * in->scale[e.segment][e.c];
}
static float centred(const rtfq_normquant_input* in, struct element e) {
  return ((const float*)in->x)[e.i] - in->mean[e.at];
}
static float normalized(const rtfq_normquant_input* in, const rtfq_batchnorm_shape* s, struct element e, int folds) {
  const float f = factor(in, s, e), shift = in->shift[e.segment][e.c];
  return folds ? ((const float*)in->x)[e.i] * f + (shift - in->mean[e.at] * f) : fmaf(centred(in, e), f, shift);
}

static float sum(const rtfq_normquant_shape* s, const rtfq_normquant_operands* in, struct element e, const char* name) {
  const int folds = strcmp(name, "folds") == 0;
  float z = normalized(&in->main, &s->norm, e, folds);
  if (strcmp(name, "forgets") == 0) return z;
  if (s->residual == RTFQ_RESIDUAL_VALUES) z += ((const float*)in->residual)[e.i];
  if (s->residual == RTFQ_RESIDUAL_CODES) z += (float)((const uint8_t*)in->residual)[e.i] * *in->residual_step;
  if (s->residual == RTFQ_RESIDUAL_NORM) z += normalized(&in->other, &s->norm, e, folds);
  return z;
}

/* Calls f for every element of one segment's channel c. */
#define FOR_EACH(S, E)                                                                                             \
  for (struct element E = {0, 0, 0, 0}; E.i < (S)->n * (S)->hw * (S)->c; ++E.i)                                    \
    if (E.c = E.i % (S)->c, E.segment = segment_of((S), E.i), E.at = E.segment * (S)->c + E.c, 1)

static int32_t segment_of(const rtfq_batchnorm_shape* s, int64_t i) {
  int32_t segment = 0;
  while (i / (s->hw * s->c) >= s->segment_end[segment]) ++segment;
  return segment;
}

static uint8_t code(float z, float step, float high) {
  return (uint8_t)rintf(fminf(fmaxf(z * (1.0f / step), 0.0f), high));
}

static int forward(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_normquant_shape* s = shape;
  const rtfq_normquant_forward_args* a = args;
  const float high = (float)s->qp + (strcmp(self->name, "late") == 0);
  (void)state, (void)stream;
  FOR_EACH(&s->norm, e) {
    const float z = sum(s, &a->in, e, self->name);
    a->codes[e.i] = code(z, *a->in.step, high);
    if (s->identity == RTFQ_IDENTITY_CODES)
      ((uint8_t*)a->identity)[e.i] = code(z, *a->in.identity_step, (float)s->identity_qp);
    if (s->identity == RTFQ_IDENTITY_VALUES) ((float*)a->identity)[e.i] = fmaxf(z, 0.0f);
  }
  return 0;
}

/* What a quantizer passes of g; g*t is added to `ds`. */
static float passed(float z, float step, float high, float g, double* ds) {
  const float v = z * (1.0f / step);
  const int inside = v > 0 && v < high;
  *ds += (double)g * (double)(inside ? rintf(v) - v : v >= high ? high : 0);
  return inside ? g : 0;
}

static float gradient(const rtfq_normquant_shape* s, const rtfq_normquant_operands* in, struct element e,
                      const void* g_codes, const void* g_identity, double* ds, double* identity_ds) {
  const float z = sum(s, in, e, "");
  float g = g_codes ? passed(z, *in->step, (float)s->qp, ((const float*)g_codes)[e.i], ds) : 0;
  if (g_identity && s->identity == RTFQ_IDENTITY_CODES)
    g += passed(z, *in->identity_step, (float)s->identity_qp, ((const float*)g_identity)[e.i], identity_ds);
  if (g_identity && s->identity == RTFQ_IDENTITY_VALUES && z > 0) g += ((const float*)g_identity)[e.i];
  return g;
}

/* Sums of doubles lie in the workspace: of g, g*(x - mean) and g*(other's x - mean). */
static size_t workspace_bytes(const rtfq_operator* self, void* state, const void* shape) {
  const rtfq_batchnorm_shape* s = &((const rtfq_normquant_shape*)shape)->norm;
  (void)self, (void)state;
  return (size_t)(3 * s->segments * s->c) * sizeof(double);
}

static int reduce(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_normquant_shape* s = shape;
  const rtfq_normquant_reduce_args* a = args;
  const int64_t channels = s->norm.segments * s->norm.c;
  double *sums = a->workspace, ds = 0, identity_ds = 0;
  (void)self, (void)state, (void)stream;
  for (int64_t i = 0; i < 3 * channels; ++i) sums[i] = 0;
  FOR_EACH(&s->norm, e) {
    const float g = gradient(s, &a->in, e, a->g_codes, a->g_identity, &ds, &identity_ds);
    if (a->g_z) ((float*)a->g_z)[e.i] = g;
    sums[e.at] += (double)g;
    sums[channels + e.at] += (double)g * (double)centred(&a->in.main, e);
    if (s->residual == RTFQ_RESIDUAL_NORM) sums[2 * channels + e.at] += (double)g * (double)centred(&a->in.other, e);
  }
  for (int64_t at = 0; at < channels; ++at) {
    const double epsilon = (double)s->norm.epsilon;
    a->sum_g[at] = (float)sums[at];
    a->sum_gx[at] = (float)(sums[channels + at] / sqrt((double)a->in.main.variance[at] + epsilon));
    if (s->residual == RTFQ_RESIDUAL_NORM)
      a->other_sum_gx[at] = (float)(sums[2 * channels + at] / sqrt((double)a->in.other.variance[at] + epsilon));
  }
  if (a->ds) *a->ds = (float)((double)*a->ds + ds * (double)a->grad_scale);
  if (a->identity_ds) *a->identity_ds = (float)((double)*a->identity_ds + identity_ds * (double)a->identity_grad_scale);
  return 0;
}

static float of_x(const rtfq_normquant_input* in, const rtfq_batchnorm_shape* s, struct element e, float g,
                  const float* sum_g, const float* sum_gx, const float* counts) {
  const float m = counts[e.segment], slope = 1.0f / sqrtf(in->variance[e.at] + s->epsilon) * (sum_gx[e.at] / m);
  return factor(in, s, e) * fmaf(-centred(in, e), slope, g - sum_g[e.at] / m);
}

static int apply(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_normquant_shape* s = shape;
  const rtfq_normquant_apply_args* a = args;
  double unused = 0;
  (void)self, (void)state, (void)stream;
  FOR_EACH(&s->norm, e) {
    const float g = a->g_z ? ((const float*)a->g_z)[e.i]
                           : gradient(s, &a->in, e, a->g_codes, a->g_identity, &unused, &unused);
    ((float*)a->dx)[e.i] = of_x(&a->in.main, &s->norm, e, g, a->sum_g, a->sum_gx, a->counts);
    if (s->residual == RTFQ_RESIDUAL_NORM)
      ((float*)a->other_dx)[e.i] = of_x(&a->in.other, &s->norm, e, g, a->sum_g, a->other_sum_gx, a->counts);
  }
  return 0;
}

#define OPERATOR(FAMILY, NAME, LAUNCH) \
  {.family = FAMILY, .name = NAME, .device = RTFQ_CPU, .unsupported = unsupported, .launch = LAUNCH}
static const rtfq_operator right = OPERATOR("normquant.forward", "right", forward),
                           folds = OPERATOR("normquant.forward", "folds", forward),
                           late = OPERATOR("normquant.forward", "late", forward),
                           forgets = OPERATOR("normquant.forward", "forgets", forward),
                           reduces = {.family = "normquant.reduce",
                                      .name = "right",
                                      .unsupported = unsupported,
                                      .workspace_bytes = workspace_bytes,
                                      .launch = reduce},
                           applies = OPERATOR("normquant.apply", "right", apply);
static const rtfq_operator* const operators[] = {&right, &folds, &late, &forgets, &reduces, &applies};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "norms", "1", 6, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
