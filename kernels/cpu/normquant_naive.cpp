// The fused norm and quantizers as the header's formulas read: channel by channel, one element at a time,
// sums in double.
#include <cmath>

#include "kernels/bf16.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/normquant.h"

namespace rtfq::kernels::cpu {
namespace {

float value_at(const void* values, rtfq_dtype type, int64_t i) {
  return type == RTFQ_BF16 ? to_float(static_cast<const bf16*>(values)[i])
                           : static_cast<const float*>(values)[i];
}

/// What is stored, as f32.
float store_at(void* values, rtfq_dtype type, int64_t i, float value) {
  if (type == RTFQ_BF16) return to_float(static_cast<bf16*>(values)[i] = to_bf16(value));
  return static_cast<float*>(values)[i] = value;
}

/// One norm's numbers for a channel of a segment.
struct Norm {
  const void* x;
  rtfq_dtype type;
  float mean, inverse, scale, shift;

  Norm(const BatchNormShape& s, const NormQuantInput& in, int segment, int64_t c)
      : x(in.x),
        type(s.type),
        mean(in.mean[segment * s.c + c]),
        inverse(inverse_deviation(in.variance[segment * s.c + c], s.epsilon)),
        scale(in.scale[segment][c]),
        shift(in.shift[segment][c]) {}
  float centred(int64_t i) const { return value_at(x, type, i) - mean; }
  float normalized(int64_t i) const { return std::fma(centred(i), inverse * scale, shift); }
};

struct Quantizer {
  float r, high;

  Quantizer(const float* step, int32_t qp) : r(step ? 1.0f / *step : 0.0f), high(static_cast<float>(qp)) {}
  uint8_t code(float z) const {
    const float v = z * r;
    return static_cast<uint8_t>(!(v > 0.0f) ? 0.0f : v >= high ? high : std::nearbyintf(v));
  }
  bool inside(float z) const { return z * r > 0.0f && z * r < high; }
  /// d value / d step: the clamped bound, or the rounding error.
  float slope(float z) const {
    const float v = z * r;
    return !(v > 0.0f) ? 0.0f : v >= high ? high : std::nearbyintf(v) - v;
  }
};

/// z of one channel, and what its quantizers make of it.
struct Channel {
  const NormQuantShape& s;
  const NormQuantOperands& in;
  Norm main, other;
  Quantizer codes, identity;

  Channel(const NormQuantShape& shape, const NormQuantOperands& operands, int segment, int64_t c)
      : s(shape),
        in(operands),
        main(s.norm, in.main, segment, c),
        other(s.norm, s.residual == RTFQ_RESIDUAL_NORM ? in.other : in.main, segment, c),
        codes(in.step, s.qp),
        identity(s.identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp) {}

  float z(int64_t i) const {
    const float norm = main.normalized(i);
    switch (s.residual) {
      case RTFQ_RESIDUAL_NONE:
        return norm;
      case RTFQ_RESIDUAL_VALUES:
        return norm + value_at(in.residual, s.norm.type, i);
      case RTFQ_RESIDUAL_CODES: {
        const float value =
            static_cast<float>(static_cast<const uint8_t*>(in.residual)[i]) * *in.residual_step;
        return norm + value;
      }
      case RTFQ_RESIDUAL_NORM:
        return norm + other.normalized(i);
    }
    return norm;
  }
  /// The gradient of z; null gradients are zero.
  float g_z(int64_t i, float at, const void* g_codes, const void* g_identity) const {
    float g = g_codes && codes.inside(at) ? value_at(g_codes, s.norm.type, i) : 0.0f;
    if (!g_identity || s.identity == RTFQ_IDENTITY_NONE) return g;
    const bool passes = s.identity == RTFQ_IDENTITY_CODES ? identity.inside(at) : at > 0.0f;
    if (passes) g += value_at(g_identity, s.norm.type, i);
    return g;
  }
};

/// Calls f(offset) for each element of channel c in a segment.
template <class F>
void for_channel(const BatchNormShape& s, int segment, int64_t c, F&& f) {
  const int64_t begin = (segment ? s.segment_end[segment - 1] : 0) * s.hw,
                end = s.segment_end[segment] * s.hw;
  for (int64_t row = begin; row < end; ++row) f(row * s.c + c);
}

}  // namespace

void normquant_forward_naive(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream) {
  for (int segment = 0; segment < s.norm.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.norm.c; ++c) {
      const Channel channel(s, a.in, segment, c);
      for_channel(s.norm, segment, c, [&](int64_t i) {
        const float z = channel.z(i);
        a.codes[i] = channel.codes.code(z);
        if (s.identity == RTFQ_IDENTITY_CODES)
          static_cast<uint8_t*>(a.identity)[i] = channel.identity.code(z);
        if (s.identity == RTFQ_IDENTITY_VALUES) store_at(a.identity, s.norm.type, i, z < 0.0f ? 0.0f : z);
      });
    }
}

void normquant_reduce_naive(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream) {
  double ds = 0, identity_ds = 0;
  for (int segment = 0; segment < s.norm.segments; ++segment)
    for (int64_t c = 0; c < s.norm.c; ++c) {
      const Channel channel(s, a.in, segment, c);
      double sum = 0, product = 0, other = 0;
      for_channel(s.norm, segment, c, [&](int64_t i) {
        const float z = channel.z(i);
        if (a.g_codes)
          ds += static_cast<double>(value_at(a.g_codes, s.norm.type, i)) *
                static_cast<double>(channel.codes.slope(z));
        if (a.g_identity && s.identity == RTFQ_IDENTITY_CODES)
          identity_ds += static_cast<double>(value_at(a.g_identity, s.norm.type, i)) *
                         static_cast<double>(channel.identity.slope(z));
        float g = channel.g_z(i, z, a.g_codes, a.g_identity);
        if (a.g_z) g = store_at(a.g_z, s.norm.type, i, g);
        sum += static_cast<double>(g);
        product += static_cast<double>(g) * static_cast<double>(channel.main.centred(i));
        other += static_cast<double>(g) * static_cast<double>(channel.other.centred(i));
      });
      const int64_t at = segment * s.norm.c + c;
      a.sum_g[at] = static_cast<float>(sum);
      a.sum_gx[at] = static_cast<float>(product * static_cast<double>(channel.main.inverse));
      if (s.residual == RTFQ_RESIDUAL_NORM)
        a.other_sum_gx[at] = static_cast<float>(other * static_cast<double>(channel.other.inverse));
    }
  if (a.ds) *a.ds += static_cast<float>(ds * static_cast<double>(a.grad_scale));
  if (a.identity_ds && s.identity == RTFQ_IDENTITY_CODES)
    *a.identity_ds += static_cast<float>(identity_ds * static_cast<double>(a.identity_grad_scale));
}

void normquant_apply_naive(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream) {
  for (int segment = 0; segment < s.norm.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.norm.c; ++c) {
      const Channel channel(s, a.in, segment, c);
      const int64_t at = segment * s.norm.c + c;
      const float mean_g = a.sum_g[at] / a.counts[segment];
      const auto gradient = [&](const Norm& norm, const float* sum_gx, int64_t i, float g) {
        const float slope = norm.inverse * (sum_gx[at] / a.counts[segment]);
        return norm.scale * norm.inverse * std::fma(-norm.centred(i), slope, g - mean_g);
      };
      for_channel(s.norm, segment, c, [&](int64_t i) {
        const float g =
            a.g_z ? value_at(a.g_z, s.norm.type, i) : channel.g_z(i, channel.z(i), a.g_codes, a.g_identity);
        store_at(a.dx, s.norm.type, i, gradient(channel.main, a.sum_gx, i, g));
        if (s.residual == RTFQ_RESIDUAL_NORM)
          store_at(a.other_dx, s.norm.type, i, gradient(channel.other, a.other_sum_gx, i, g));
      });
    }
}

}  // namespace rtfq::kernels::cpu
