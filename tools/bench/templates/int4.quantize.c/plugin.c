/* A kernel of your own in C that packs: it quantizes to 4 bits or fewer and stores two codes a byte. `make`
 * builds it; it is right as it is, and slow.
 *
 *   make test      is it right, and how fast is it?
 *   make compare   beside the fastest kernel there is
 *
 * What to compute: v = x/step, code = v rounded to the nearest integer and clamped to [-qn, qp]. A NaN takes
 * the lowest code. A line is `cols` codes; it begins on a byte of its own, and the nibble behind an odd
 * number of codes is 0. Which nibble of a byte comes first is yours to say, below. */
#include "plugin.h"

#include <math.h>
#include <string.h>

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_fakequant_shape* s = shape;
  (void)self;
  return s->type == RTFQ_F32 ? NULL : "takes f32 only";
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_int4_quantize_args* a = args;
  const float low = (float)-s->qn, high = (float)s->qp;
  const int64_t line_bytes = (s->cols + 1) / 2;
  (void)self, (void)state, (void)stream;
#pragma omp parallel for
  for (int64_t line = 0; line < s->rows * s->groups; ++line) {
    const int64_t row = line / s->groups, group = line % s->groups;
    const float r = 1.0f / a->step[s->per_row ? row : 0];
    const float* x = (const float*)a->x + row * s->row_stride + group * s->group_stride;
    uint8_t* codes = a->codes + line * line_bytes;
    memset(codes, 0, (size_t)line_bytes);
    for (int64_t i = 0; i < s->cols; ++i) {
      /* The declared rounding: multiply by the reciprocal, ties to even. fmaxf answers `low` for a NaN. */
      const int code = (int)rintf(fminf(fmaxf(x[i] * r, low), high));
      codes[i / 2] |= (uint8_t)((code & 15) << (i % 2 ? 4 : 0)); /* the low nibble first */
    }
  }
  return 0;
}

static const rtfq_operand operands[] = {
    {.name = "codes", .dtypes = 1u << RTFQ_U8, .layout = RTFQ_LAYOUT_DENSE, .nibbles = RTFQ_LOW_NIBBLE_FIRST},
};
static const rtfq_operator op = {
    .family = "@FAMILY@",
    .name = "mine",
    .device = RTFQ_CPU,
    .scaling = RTFQ_RECIPROCAL, /* or RTFQ_DIVISION, RTFQ_EXACT: what you declare is what you are held to */
    .ties = RTFQ_TIES_EVEN,
    .operands = operands,
    .operand_count = 1,
    .unsupported = unsupported,
    .launch = launch,
};

static const rtfq_operator* const operators[] = {&op};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "mine", "1", 1, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
