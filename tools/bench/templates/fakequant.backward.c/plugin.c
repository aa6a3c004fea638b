/* The gradient of fake-quant of your own in C. `make` builds it; it is right as it is, and slow.
 *
 * With v = x*(1/step): dx = g where -qn < v < qp, else 0, added to dx where accumulate_dx. ds += grad_scale * sum of
 * g*t, t = -qn where v <= -qn or v is NaN, qp where v >= qp, else round(v) - v. plugin.h says where the operands are. */
#include <math.h>

#include "plugin.h"

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_fakequant_shape* s = shape;
  (void)self;
  return s->type == RTFQ_F32 ? NULL : "takes f32 only";
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_fakequant_backward_args* a = args;
  const float low = (float)-s->qn, high = (float)s->qp;
  const float* g = a->g;
  double sum = 0; /* in double: millions of terms */
  (void)self, (void)state, (void)stream;
  for (int64_t row = 0; row < s->rows; ++row) {
    const float r = 1.0f / a->step[s->per_row ? row : 0];
    for (int64_t group = 0; group < s->groups; ++group) {
      const int64_t begin = row * s->row_stride + group * s->group_stride;
      const float* x = (const float*)a->x + begin;
      float* dx = a->dx ? (float*)a->dx + begin : NULL;
      for (int64_t i = 0; i < s->cols; ++i, ++g) {
        const float v = x[i] * r;
        const int inside = v > low && v < high;
        const float t = inside ? rintf(v) - v : v >= high ? high : low;
        sum += (double)*g * (double)t;
        if (dx) dx[i] = (a->accumulate_dx ? dx[i] : 0.0f) + (inside ? *g : 0.0f);
      }
    }
    if (s->per_row || row + 1 == s->rows) {
      if (a->ds) a->ds[s->per_row ? row : 0] += (float)(sum * (double)a->grad_scale);
      sum = 0;
    }
  }
  return 0;
}

static const rtfq_operator op = {
    .family = "@FAMILY@",
    .name = "mine",
    .device = RTFQ_CPU,
    .scaling = RTFQ_RECIPROCAL,
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
