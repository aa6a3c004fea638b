/* A quantized convolution of your own in C: 8-bit codes of activations times 8-bit codes of weights, exact
 * 32-bit sums. `make` builds it; it is right as it is, and slow.
 *
 *   make test      is it right, and how fast is it?
 *   make compare   beside the fastest kernel there is
 *   make train     (see the Makefile) trains a small network with it
 *
 * What to compute: y = scale[k] * sum of x*w, one f32 product of a sum that is exact; with y in s32 the sum
 * itself. shapes.h says how x, w and y lie. Weights are the same for many launches: `prepare` is the place to
 * bring them into an order that you like; what it takes is timed in a column of its own. Here it copies them.
 */
#include "plugin.h"

#include <string.h>

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_conv2d_shape* s = shape;
  (void)self;
  return s->x_type == RTFQ_U8 || s->x_type == RTFQ_S8 ? NULL : "takes codes only (--dtype u8)";
}

/* Weights of a slice are the first channels of a wider parent's: c_parent lie between one filter tap and the
 * next. */
static size_t prepared_bytes(const rtfq_operator* self, void* state, const void* shape) {
  const rtfq_conv2d_shape* s = shape;
  (void)self, (void)state;
  return (size_t)(s->k * s->r * s->s * s->c);
}

static int prepare(const rtfq_operator* self, void* state, const void* shape, const void* weights,
                   void* prepared, void* stream) {
  const rtfq_conv2d_shape* s = shape;
  (void)self, (void)state, (void)stream;
  for (int64_t tap = 0; tap < s->k * s->r * s->s; ++tap)
    memcpy((int8_t*)prepared + tap * s->c, (const int8_t*)weights + tap * s->c_parent, (size_t)s->c);
  return 0;
}

static uint16_t to_bf16(float x) { /* to nearest even; sums of codes are no NaN */
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_conv2d_shape* s = shape;
  const rtfq_conv2d_forward_args* a = args;
  const int64_t p = (s->h + 2 * s->pad - s->r) / s->stride + 1,
                q = (s->w + 2 * s->pad - s->s) / s->stride + 1;
  (void)self, (void)state, (void)stream;
#pragma omp parallel for
  for (int64_t pixel = 0; pixel < s->n * p * q; ++pixel) {
    const int64_t image = pixel / (p * q), top = pixel / q % p * s->stride - s->pad,
                  left = pixel % q * s->stride - s->pad;
    for (int64_t k = 0; k < s->k; ++k) {
      int32_t sum = 0;
      for (int64_t tap = 0; tap < s->r * s->s; ++tap) {
        const int64_t h = top + tap / s->s, w = left + tap % s->s;
        if (h < 0 || h >= s->h || w < 0 || w >= s->w) continue; /* padding is code 0 */
        const int64_t from = ((image * s->h + h) * s->w + w) * s->c;
        const int8_t* weights = (const int8_t*)a->w + (k * s->r * s->s + tap) * s->c;
        if (s->x_type == RTFQ_U8)
          for (int64_t c = 0; c < s->c; ++c) sum += ((const uint8_t*)a->x)[from + c] * weights[c];
        else
          for (int64_t c = 0; c < s->c; ++c) sum += ((const int8_t*)a->x)[from + c] * weights[c];
      }
      const int64_t to = pixel * s->k + k;
      if (s->y_type == RTFQ_S32)
        ((int32_t*)a->y)[to] = sum;
      else if (s->y_type == RTFQ_F32)
        ((float*)a->y)[to] = a->scale[k] * (float)sum;
      else
        ((uint16_t*)a->y)[to] = to_bf16(a->scale[k] * (float)sum);
    }
  }
  return 0;
}

static const rtfq_operator op = {
    .family = "@FAMILY@",
    .name = "mine",
    .device = RTFQ_CPU,
    .unsupported = unsupported,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .launch = launch,
};

static const rtfq_operator* const operators[] = {&op};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "mine", "1", 1, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
