/* Convolutions of codes, and codes of 4 bits: right ones, with the low nibble first and with the high one; one that packs
 * high and does not say so; one that forgets the nibble behind a line. */
#include <math.h>
#include <string.h>

#include "kernels/plugin.h"

static int64_t size(int64_t of, int64_t filter, const rtfq_conv2d_shape* s) {
  return (of + 2 * s->pad - filter) / s->stride + 1;
}

/* Calls weight(weights, tap's index among [k][r][s], c) for what lies inside the image. */
static int32_t sum_of(const rtfq_conv2d_shape* s, const void* x, int64_t pixel, int64_t k,
                      int (*weight)(const void*, int64_t, int64_t, const rtfq_conv2d_shape*), const void* weights) {
  const int64_t p = size(s->h, s->r, s), q = size(s->w, s->s, s), image = pixel / (p * q);
  int32_t sum = 0;
  for (int64_t tap = 0; tap < s->r * s->s; ++tap) {
    const int64_t h = pixel / q % p * s->stride - s->pad + tap / s->s, w = pixel % q * s->stride - s->pad + tap % s->s;
    if (h < 0 || h >= s->h || w < 0 || w >= s->w) continue;
    for (int64_t c = 0; c < s->c; ++c) {
      const int64_t at = ((image * s->h + h) * s->w + w) * s->c + c;
      sum += (s->x_type == RTFQ_U8 ? ((const uint8_t*)x)[at] : ((const int8_t*)x)[at]) *
             weight(weights, k * s->r * s->s + tap, c, s);
    }
  }
  return sum;
}

static int64_t outputs(const rtfq_conv2d_shape* s) {
  return s->n * size(s->h, s->r, s) * size(s->w, s->s, s) * s->k;
}

/* ---- convquant.forward, its weights prepared without the channels that no slice has ---- */

static size_t prepared_bytes(const rtfq_operator* self, void* state, const void* shape) {
  const rtfq_conv2d_shape* s = &((const rtfq_convquant_shape*)shape)->conv;
  (void)self, (void)state;
  return (size_t)(s->k * s->r * s->s * s->c);
}

static int prepare(const rtfq_operator* self, void* state, const void* shape, const void* weights, void* prepared,
                   void* stream) {
  const rtfq_conv2d_shape* s = &((const rtfq_convquant_shape*)shape)->conv;
  (void)self, (void)state, (void)stream;
  for (int64_t tap = 0; tap < s->k * s->r * s->s; ++tap)
    memcpy((int8_t*)prepared + tap * s->c, (const int8_t*)weights + tap * s->c_parent, (size_t)s->c);
  return 0;
}

static int of_bytes(const void* weights, int64_t tap, int64_t c, const rtfq_conv2d_shape* s) {
  return ((const int8_t*)weights)[tap * s->c + c];
}

static uint8_t code(float z, float step, int32_t qp) {
  return (uint8_t)rintf(fminf(fmaxf(z * (1.0f / step), 0.0f), (float)qp));
}

static int convquant(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_convquant_shape* s = shape;
  const rtfq_convquant_forward_args* a = args;
  (void)self, (void)state, (void)stream;
  for (int64_t i = 0; i < outputs(&s->conv); ++i) {
    const int64_t k = i % s->conv.k;
    const float y = a->scale[k] * (float)sum_of(&s->conv, a->x, i / s->conv.k, k, of_bytes, a->w);
    float z = fmaf(y - a->mean[k], a->factor[k], a->shift[k]);
    if (!s->quantized) {
      ((float*)a->y)[i] = z;
      continue;
    }
    if (s->residual == RTFQ_RESIDUAL_VALUES) z += ((const float*)a->residual)[i];
    if (s->residual == RTFQ_RESIDUAL_CODES) z += (float)((const uint8_t*)a->residual)[i] * *a->residual_step;
    ((uint8_t*)a->y)[i] = code(z, *a->step, s->qp);
    if (s->identity == RTFQ_IDENTITY_CODES) ((uint8_t*)a->identity)[i] = code(z, *a->identity_step, s->identity_qp);
    if (s->identity == RTFQ_IDENTITY_VALUES) ((float*)a->identity)[i] = fmaxf(z, 0.0f);
  }
  return 0;
}

/* ---- int4 ---- */

/* What an operator's name begins with says how it packs. */
static int high_first(const rtfq_operator* self) {
  return self->name[0] == 'h';
}

static int quantize(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_int4_quantize_args* a = args;
  const int64_t line_bytes = (s->cols + 1) / 2;
  (void)state, (void)stream;
  for (int64_t line = 0; line < s->rows * s->groups; ++line) {
    const int64_t row = line / s->groups;
    const float r = 1.0f / a->step[s->per_row ? row : 0];
    const float* x = (const float*)a->x + row * s->row_stride + line % s->groups * s->group_stride;
    memset(a->codes + line * line_bytes, self->name[0] == 'r' ? 0x10 : 0, (size_t)line_bytes);
    for (int64_t i = 0; i < s->cols; ++i) {
      const int code = (int)rintf(fminf(fmaxf(x[i] * r, (float)-s->qn), (float)s->qp)) & 15;
      uint8_t* byte = a->codes + line * line_bytes + i / 2;
      const int shift = (i % 2 == 1) != high_first(self) ? 4 : 0;
      *byte = (uint8_t)((*byte & (shift ? 0x0f : 0xf0)) | code << shift);
    }
  }
  return 0;
}

static int of_low_nibbles(const void* weights, int64_t tap, int64_t c, const rtfq_conv2d_shape* s) {
  const uint8_t byte = ((const uint8_t*)weights)[tap * ((s->c_parent + 1) / 2) + c / 2];
  return ((c % 2 ? byte >> 4 : byte & 15) ^ 8) - 8;
}
static int of_high_nibbles(const void* weights, int64_t tap, int64_t c, const rtfq_conv2d_shape* s) {
  const uint8_t byte = ((const uint8_t*)weights)[tap * ((s->c_parent + 1) / 2) + c / 2];
  return ((c % 2 ? byte & 15 : byte >> 4) ^ 8) - 8;
}

static int conv2d(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_conv2d_shape* s = shape;
  const rtfq_int4_conv2d_args* a = args;
  (void)state, (void)stream;
  for (int64_t i = 0; i < outputs(s); ++i) {
    const int32_t sum =
        sum_of(s, a->x, i / s->k, i % s->k, high_first(self) ? of_high_nibbles : of_low_nibbles, a->weights);
    if (s->y_type == RTFQ_S32)
      ((int32_t*)a->y)[i] = sum;
    else
      ((float*)a->y)[i] = a->scale[i % s->k] * (float)sum;
  }
  return 0;
}

static const char* of_f32(const rtfq_operator* self, const void* shape) {
  (void)self;
  return ((const rtfq_fakequant_shape*)shape)->type == RTFQ_F32 ? NULL : "takes f32 only";
}
static const char* to_f32(const rtfq_operator* self, const void* shape) {
  (void)self;
  return ((const rtfq_conv2d_shape*)shape)->y_type != RTFQ_BF16 ? NULL : "gives f32 or s32";
}

static const rtfq_operand high_codes[] = {{"codes", 1u << RTFQ_U8, RTFQ_LAYOUT_DENSE, RTFQ_HIGH_NIBBLE_FIRST}},
                          high_weights[] = {{"weights", 1u << RTFQ_U8, RTFQ_LAYOUT_KRSC, RTFQ_HIGH_NIBBLE_FIRST}};
#define QUANTIZE(NAME) .family = "int4.quantize", .name = NAME, .unsupported = of_f32, .launch = quantize
#define CONV2D(NAME) .family = "int4.conv2d", .name = NAME, .unsupported = to_f32, .launch = conv2d
static const rtfq_operator fused = {.family = "convquant.forward",
                                    .name = "right",
                                    .prepared_bytes = prepared_bytes,
                                    .prepare = prepare,
                                    .launch = convquant},
                           low = {QUANTIZE("low")},
                           high = {QUANTIZE("high"), .operands = high_codes, .operand_count = 1},
                           undeclared = {QUANTIZE("high_undeclared")}, rest = {QUANTIZE("rest")},
                           conv_low = {CONV2D("low")},
                           conv_high = {CONV2D("high"), .operands = high_weights, .operand_count = 1};
static const rtfq_operator* const operators[] = {&fused, &low, &high, &undeclared, &rest, &conv_low, &conv_high};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "codes", "1", 7, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
