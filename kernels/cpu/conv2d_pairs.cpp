// The sums as they are, or scaled: what training reads. Figures: docs/results/conv-cpu.md.
#include "kernels/cpu/conv2d_pairs.h"

#include <algorithm>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/convquant_pairs.h"
#include "kernels/cpu/lanes_avx2.h"

namespace rtfq::kernels::pairs {
namespace {

using Plan = cpu::ConvPlan<cpu::Avx2Kernel>;

/// Y: int32_t, the sums themselves; else f32 or bf16, times a scale for each channel.
template <class Y>
class Finish {
 public:
  Finish(const Conv2dShape& s, const Conv2dForwardArgs& a)
      : y_(static_cast<Y*>(a.y)), scale_(a.scale), k_(s.k) {}

  static constexpr int64_t output_bytes() { return sizeof(Y); }

  RTFQ_INLINE void fetch(const int64_t* outputs, int64_t pixels, int64_t first) const {
    for (int64_t i = 0; i < pixels; ++i) __builtin_prefetch(y_ + outputs[i] * k_ + first, 1);
  }

  template <int P>
  RTFQ_INLINE void tile(const __m256i* sums, const int64_t* outputs, int64_t k) const {
    if (k + cpu::lanes <= k_) [[likely]]
      for (int i = 0; i < P; ++i)
        store(sums + 2 * i, scale_ ? scale_ + k : nullptr, y_ + outputs[i] * k_ + k);
    else
      some<P>(sums, outputs, k);
  }

 private:
  /// Fewer than 16 channels.
  template <int P>
  [[gnu::noinline]] void some(const __m256i* sums, const int64_t* outputs, int64_t k) const {
    float scale[cpu::lanes] = {};
    if (scale_) std::copy(scale_ + k, scale_ + k_, scale);
    for (int i = 0; i < P; ++i) {
      Y all[cpu::lanes];
      store(sums + 2 * i, scale, all);
      std::copy(all, all + (k_ - k), y_ + outputs[i] * k_ + k);
    }
  }

  RTFQ_INLINE static void store(const __m256i* sums, const float* scale, Y* y) {
    for (int v = 0; v < 2; ++v)
      if constexpr (std::is_same_v<Y, int32_t>)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + 8 * v), sums[v]);
      else
        cpu::store8(y + 8 * v, _mm256_mul_ps(_mm256_loadu_ps(scale + 8 * v), _mm256_cvtepi32_ps(sums[v])));
  }

  Y* y_;
  const float* scale_;
  int64_t k_;
};

template <class Y>
void forward(const Plan& plan, const uint8_t* x, const Conv2dForwardArgs& a) {
  cpu::convolve(plan, x, {a.packed}, Finish<Y>(plan.s, a));
}

}  // namespace

const char* conv2d_forward_unsupported(const Conv2dShape& s) {
  if (s.w_type != RTFQ_S8 || unsupported_types(Conv2dForward{}, s)) return "takes codes with s8 weights only";
  return cpu::conv_plan_unsupported<cpu::Avx2Kernel>(s);
}

void conv2d_forward(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream) {
  const Plan plan(s);
  const uint8_t* x = cpu::read_codes(plan, a.x, a.workspace);
  if (s.y_type == RTFQ_F32)
    forward<float>(plan, x, a);
  else if (s.y_type == RTFQ_BF16)
    forward<bf16>(plan, x, a);
  else
    forward<int32_t>(plan, x, a);
}

std::size_t conv2d_forward_workspace(const Conv2dShape& s) {
  return Plan(s).workspace_bytes();
}

std::size_t conv2d_forward_packed(const Conv2dShape& s) {
  return cpu::pairs_bytes(Plan(s));
}

void conv2d_forward_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  cpu::pack_pairs(Plan(s), weights, packed, 255);
}

}  // namespace rtfq::kernels::pairs
