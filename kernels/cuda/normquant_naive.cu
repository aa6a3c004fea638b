// The fused norm and quantizers as the formulas of kernels/normquant.h read, with branches for every kind of
// residual and identity. A thread of a block of 128 takes one element, or, for sums, a channel of a segment,
// one value after the other in double; the step sizes' gradients are added over the channels by one thread of
// a second launch. For comparison, not for speed. Floor: as in normquant_forward.cu, normquant_reduce.cu and
// normquant_apply.cu. Limits: f32 and bf16; fewer than 2^31 blocks.
#include "kernels/cuda/naive_rows.h"
#include "kernels/cuda/normquant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

/// One norm's numbers for a channel of a segment.
template <class T>
struct NaiveNorm {
  const T* x;
  float mean, inverse, scale, shift;

  __device__ NaiveNorm(const BatchNormShape& s, const NormQuantInput& in, int segment, int64_t channel)
      : x(static_cast<const T*>(in.x)),
        mean(in.mean[segment * s.c + channel]),
        inverse(inverse_deviation(in.variance[segment * s.c + channel], s.epsilon)),
        scale(in.scale[segment][channel]),
        shift(in.shift[segment][channel]) {}
  __device__ float centred(int64_t i) const { return value_at(x, i) - mean; }
  __device__ float normalized(int64_t i) const { return __fmaf_rn(centred(i), inverse * scale, shift); }
};

struct NaiveQuantizer {
  float r, high;

  __device__ NaiveQuantizer(const float* step, int32_t qp) {
    r = step ? __frcp_rn(*step) : 0.0f;
    high = static_cast<float>(qp);
  }
  __device__ uint8_t code(float z) const {
    const float v = z * r;
    return static_cast<uint8_t>(!(v > 0.0f) ? 0 : __float2int_rn(v >= high ? high : v));
  }
  __device__ bool inside(float z) const { return z * r > 0.0f && z * r < high; }
  /// d value / d step: the clamped bound, or the rounding error.
  __device__ float slope(float z) const {
    const float v = z * r;
    return !(v > 0.0f) ? 0.0f : v >= high ? high : rintf(v) - v;
  }
};

/// z of one channel, and what its quantizers make of it.
template <class T>
struct NaiveSum {
  const NormQuantShape& s;
  const NormQuantOperands& in;
  NaiveNorm<T> main, other;
  NaiveQuantizer codes, identity;

  __device__ NaiveSum(const NormQuantShape& shape, const NormQuantOperands& operands, int segment,
                      int64_t channel)
      : s(shape),
        in(operands),
        main(s.norm, in.main, segment, channel),
        other(s.norm, s.residual == RTFQ_RESIDUAL_NORM ? in.other : in.main, segment, channel),
        codes(in.step, s.qp),
        identity(s.identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp) {}

  __device__ float z(int64_t i) const {
    const float norm = main.normalized(i);
    if (s.residual == RTFQ_RESIDUAL_VALUES) return norm + value_at(static_cast<const T*>(in.residual), i);
    if (s.residual == RTFQ_RESIDUAL_CODES)
      return norm + value_at(static_cast<const uint8_t*>(in.residual), i) * *in.residual_step;
    if (s.residual == RTFQ_RESIDUAL_NORM) return norm + other.normalized(i);
    return norm;
  }
  /// The gradient of z; null gradients are zero.
  __device__ float g_z(int64_t i, float at, const T* g_codes, const T* g_identity) const {
    float g = g_codes && codes.inside(at) ? value_at(g_codes, i) : 0.0f;
    if (!g_identity || s.identity == RTFQ_IDENTITY_NONE) return g;
    if (s.identity == RTFQ_IDENTITY_CODES ? identity.inside(at) : at > 0.0f) g += value_at(g_identity, i);
    return g;
  }
};

template <class T>
__global__ void __launch_bounds__(naive_threads) forward_naive(NormQuantShape s, NormQuantForwardArgs a) {
  const int64_t i = naive_thread();
  if (i >= s.norm.n * s.norm.hw * s.norm.c) return;
  const NaivePlace place(s.norm, i);
  const NaiveSum<T> sum(s, a.in, place.segment, place.channel);
  const float z = sum.z(i);
  a.codes[i] = sum.codes.code(z);
  if (s.identity == RTFQ_IDENTITY_CODES) static_cast<uint8_t*>(a.identity)[i] = sum.identity.code(z);
  if (s.identity == RTFQ_IDENTITY_VALUES) put_at(static_cast<T*>(a.identity), i, z < 0.0f ? 0.0f : z);
}

/// The terms of the step sizes' gradients go to `terms`, [2][segments*c].
template <class T>
__global__ void __launch_bounds__(naive_threads)
    reduce_naive(NormQuantShape s, NormQuantReduceArgs a, double* terms) {
  const int64_t number = naive_thread(), channels = s.norm.segments * s.norm.c;
  if (number >= channels) return;
  const NaiveChannel channel(s.norm, number);
  const NaiveSum<T> of(s, a.in, channel.segment, channel.channel);
  const auto* g_codes = static_cast<const T*>(a.g_codes);
  const auto* g_identity = static_cast<const T*>(a.g_identity);
  double sum = 0, products = 0, others = 0, ds = 0, identity_ds = 0;
  for (int64_t i = channel.first; i < channel.end; i += channel.step) {
    const float z = of.z(i);
    if (g_codes) ds += static_cast<double>(value_at(g_codes, i)) * static_cast<double>(of.codes.slope(z));
    if (g_identity && s.identity == RTFQ_IDENTITY_CODES)
      identity_ds += static_cast<double>(value_at(g_identity, i)) * static_cast<double>(of.identity.slope(z));
    float g = of.g_z(i, z, g_codes, g_identity);
    if (a.g_z) {
      put_at(static_cast<T*>(a.g_z), i, g);
      g = value_at(static_cast<const T*>(a.g_z), i);
    }
    sum += static_cast<double>(g);
    products += static_cast<double>(g) * static_cast<double>(of.main.centred(i));
    others += static_cast<double>(g) * static_cast<double>(of.other.centred(i));
  }
  a.sum_g[number] = static_cast<float>(sum);
  a.sum_gx[number] = static_cast<float>(products * static_cast<double>(of.main.inverse));
  if (s.residual == RTFQ_RESIDUAL_NORM)
    a.other_sum_gx[number] = static_cast<float>(others * static_cast<double>(of.other.inverse));
  terms[number] = ds;
  terms[channels + number] = identity_ds;
}

__global__ void __launch_bounds__(naive_threads)
    step_gradients_naive(const double* terms, int64_t channels, NormQuantReduceArgs a, bool identity) {
  if (threadIdx.x > 0) return;
  double ds = 0, identity_ds = 0;
  for (int64_t i = 0; i < channels; ++i) ds += terms[i], identity_ds += terms[channels + i];
  if (a.ds) *a.ds += static_cast<float>(ds * static_cast<double>(a.grad_scale));
  if (a.identity_ds && identity)
    *a.identity_ds += static_cast<float>(identity_ds * static_cast<double>(a.identity_grad_scale));
}

template <class T>
__global__ void __launch_bounds__(naive_threads) apply_naive(NormQuantShape s, NormQuantApplyArgs a) {
  const int64_t i = naive_thread();
  if (i >= s.norm.n * s.norm.hw * s.norm.c) return;
  const NaivePlace place(s.norm, i);
  const NaiveSum<T> of(s, a.in, place.segment, place.channel);
  const float g =
      a.g_z ? value_at(static_cast<const T*>(a.g_z), i)
            : of.g_z(i, of.z(i), static_cast<const T*>(a.g_codes), static_cast<const T*>(a.g_identity));
  const float count = a.counts[place.segment], centred_g = g - __fdiv_rn(a.sum_g[place.at], count);
  const float centred = of.main.centred(i), other_centred = of.other.centred(i);
  const auto gradient = [&](const NaiveNorm<T>& norm, float x, const float* sum_gx) {
    const float slope = norm.inverse * __fdiv_rn(sum_gx[place.at], count);
    return norm.scale * norm.inverse * __fmaf_rn(-x, slope, centred_g);
  };
  put_at(static_cast<T*>(a.dx), i, gradient(of.main, centred, a.sum_gx));
  if (s.residual == RTFQ_RESIDUAL_NORM)
    put_at(static_cast<T*>(a.other_dx), i, gradient(of.other, other_centred, a.other_sum_gx));
}

template <class... P, class... A>
void launch_for(void (*kernel)(P...), int64_t threads, Stream stream, A... arguments) {
  simt::launch(kernel, naive_blocks(threads), dim3(naive_threads), 0, stream_of(stream), arguments...);
}

bool is_bf16(const NormQuantShape& s) {
  return s.norm.type == RTFQ_BF16;
}

}  // namespace

std::size_t normquant_naive_bytes(const NormQuantShape& s) {
  return static_cast<std::size_t>(2 * s.norm.segments * s.norm.c) * sizeof(double);
}

void normquant_forward_naive(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream stream) {
  launch_for(is_bf16(s) ? forward_naive<bf16> : forward_naive<float>, rows_of(s.norm) * s.norm.c, stream, s,
             a);
}
void normquant_reduce_naive(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream stream) {
  const int64_t channels = s.norm.segments * s.norm.c;
  auto* terms = static_cast<double*>(a.workspace);
  launch_for(is_bf16(s) ? reduce_naive<bf16> : reduce_naive<float>, channels, stream, s, a, terms);
  launch_for(step_gradients_naive, 1, stream, terms, channels, a, s.identity == RTFQ_IDENTITY_CODES);
}
void normquant_apply_naive(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream stream) {
  launch_for(is_bf16(s) ? apply_naive<bf16> : apply_naive<float>, rows_of(s.norm) * s.norm.c, stream, s, a);
}

}  // namespace rtfq::kernels::RTFQ_GPU
