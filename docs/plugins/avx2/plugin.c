/* Fake-quant forward in C with AVX2 intrinsics: dense tensors with one step size, values in f32. Multiplies by the
 * reciprocal, ties to even; 32 elements at a time; results of more than 16 MiB are written past the caches.
 *
 *   gcc -std=c11 -O3 -mavx2 -mfma -fopenmp -ffp-contract=off -I kernels -fPIC -shared -o avx2.so docs/plugins/avx2/plugin.c */
#include <immintrin.h>

#include "plugin.h"

enum { block = 8192 };

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  const rtfq_fakequant_shape* s = shape;
  (void)self;
  if (s->type != RTFQ_F32) return "takes f32 only";
  return s->rows == 1 && s->groups == 1 ? NULL : "takes dense tensors only";
}

struct quantizer {
  __m256 r, step, low, high;
};

/* The maximum answers its second operand for a NaN, which is the lowest code. Adding zero gives a code of zero the sign
 * that it has: none. */
static inline __m256 value(const struct quantizer* q, __m256 x) {
  const __m256 v = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, q->r), q->low), q->high);
  const __m256 code = _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_mul_ps(_mm256_add_ps(code, _mm256_setzero_ps()), q->step);
}

static void values(const struct quantizer* q, const float* x, float* y, int64_t count, int past_caches) {
  int64_t i = 0;
  if (past_caches) {
    for (; i + 32 <= count; i += 32)
      for (int part = 0; part < 32; part += 8) _mm256_stream_ps(y + i + part, value(q, _mm256_loadu_ps(x + i + part)));
    _mm_sfence();
  }
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, value(q, _mm256_loadu_ps(x + i)));
  if (i < count) {
    float rest[8] = {0};
    for (int64_t k = i; k < count; ++k) rest[k - i] = x[k];
    _mm256_storeu_ps(rest, value(q, _mm256_loadu_ps(rest)));
    for (int64_t k = i; k < count; ++k) y[k] = rest[k - i];
  }
}

static void codes(const struct quantizer* q, const float* x, uint8_t* out, int64_t count) {
  for (int64_t i = 0; i < count; i += 8) {
    float rest[8] = {0};
    int32_t code[8];
    const int64_t n = count - i < 8 ? count - i : 8;
    for (int64_t k = 0; k < n; ++k) rest[k] = x[i + k];
    const __m256 v = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(_mm256_loadu_ps(rest), q->r), q->low), q->high);
    _mm256_storeu_si256((__m256i*)code, _mm256_cvtps_epi32(v)); /* to nearest, ties to even */
    for (int64_t k = 0; k < n; ++k) out[i + k] = (uint8_t)code[k];
  }
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_fakequant_shape* s = shape;
  const rtfq_fakequant_forward_args* a = args;
  const float step = a->step[0];
  const struct quantizer q = {_mm256_set1_ps(1.0f / step), _mm256_set1_ps(step), _mm256_set1_ps((float)-s->qn),
                              _mm256_set1_ps((float)s->qp)};
  const float* x = a->x;
  const int past_caches = s->cols * 4 >= 16 << 20;
  const int64_t blocks = (s->cols + block - 1) / block;
  (void)self, (void)state, (void)stream;
#pragma omp parallel for schedule(static) if (blocks > 4)
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t at = b * block, count = s->cols - at < block ? s->cols - at : block;
    if (a->y) values(&q, x + at, (float*)a->y + at, count, past_caches);
    if (a->codes) codes(&q, x + at, (uint8_t*)a->codes + at, count);
  }
  return 0;
}

static const rtfq_operand operands[] = {{"x", 1u << RTFQ_F32, RTFQ_LAYOUT_DENSE, RTFQ_BYTES},
                                        {"y", 1u << RTFQ_F32, RTFQ_LAYOUT_DENSE, RTFQ_BYTES},
                                        {"codes", 1u << RTFQ_U8 | 1u << RTFQ_S8, RTFQ_LAYOUT_DENSE, RTFQ_BYTES}};
static const rtfq_operator op = {
    .family = "fakequant.forward",
    .name = "avx2-example",
    .device = RTFQ_CPU,
    .scaling = RTFQ_RECIPROCAL,
    .ties = RTFQ_TIES_EVEN,
    .operands = operands,
    .operand_count = sizeof operands / sizeof operands[0],
    .unsupported = unsupported,
    .launch = launch,
};
static const rtfq_operator* const operators[] = {&op};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "avx2 example", "1", 1, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}
