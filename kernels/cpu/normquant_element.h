#pragma once
// What the three fused passes compute of sixteen elements. Forward and gradients share it, so that z made
// again is the same bits.

#include "kernels/cpu/normquant_layout.h"

namespace rtfq::kernels::cpu {

template <class V, bool whole, class T>
typename V::Floats read(const T* from, int64_t n, std::bool_constant<whole>) {
  if constexpr (whole)
    return V::load(from);
  else
    return V::load(from, n);
}

template <class V, bool stream = false, bool whole, class T>
void write(T* to, typename V::Floats x, int64_t n, std::bool_constant<whole>) {
  if constexpr (whole)
    V::template store<stream>(to, x);
  else
    V::store(to, x, n);
}

/// Codes in [0, qp] and the straight-through gradient.
template <class V>
struct UnsignedQuantizer {
  using Floats = typename V::Floats;
  Floats r, high;

  /// A null step: the quantizer is not used.
  UnsignedQuantizer(const float* step, int32_t qp)
      : r(V::all(step ? 1.0f / *step : 0.0f)), high(V::all(static_cast<float>(qp))) {}

  /// The maximum answers its second operand for a NaN: the lowest code.
  Floats clamped(Floats v) const { return V::minimum(V::maximum(v, V::all(0.0f)), high); }

  __m128i codes(Floats z) const { return V::bytes(clamped(V::multiply(z, r))); }

  /// g where 0 < v < qp, and g*t added to `sum`: t is qp from qp on, 0 up to 0, the rounding error between.
  Floats backward(Floats z, Floats g, Floats& sum) const {
    const Floats v = V::multiply(z, r), inside = clamped(v);
    const auto above = V::at_least(v, high);
    sum = V::multiply_add(g, V::choose(above, high, V::subtract(V::round(inside), inside)), sum);
    return V::where(V::both(V::less(V::all(0.0f), v), V::less(v, high)), g);
  }
};

/// z = norm(x) + residual.
template <class V, class T, rtfq_residual residual>
class ResidualSum {
 public:
  using Floats = typename V::Floats;

  struct Element {
    Floats main, other;  ///< x minus its mean, of both norms
    Floats z;
  };

  explicit ResidualSum(const NormQuantOperands& in) : in_(in), step_(V::all(in.residual_step)) {}

  void begin(const BatchNormShape& s, int segment, int64_t channel, int64_t width) {
    const auto fill = [&](NormLanes& lanes, const NormQuantInput& from) {
      lanes.fill(s, from.mean, from.variance, from.scale[segment], from.shift[segment], segment, channel,
                 width);
    };
    fill(main_, in_.main);
    if constexpr (two_norms) fill(other_, in_.other);
  }

  template <bool whole>
  Element at(int64_t lane, int64_t offset, int64_t n, std::bool_constant<whole> all) const {
    Element e;
    e.main = centred(in_.main, main_, lane, offset, n, all);
    e.z = normalized(e.main, main_, lane);
    if constexpr (residual == RTFQ_RESIDUAL_VALUES)
      e.z = V::add(e.z, read<V>(static_cast<const T*>(in_.residual) + offset, n, all));
    if constexpr (residual == RTFQ_RESIDUAL_CODES)
      e.z = V::add(e.z,
                   V::multiply(read<V>(static_cast<const uint8_t*>(in_.residual) + offset, n, all), step_));
    if constexpr (two_norms) {
      e.other = centred(in_.other, other_, lane, offset, n, all);
      e.z = V::add(e.z, normalized(e.other, other_, lane));
    }
    return e;
  }

  const NormLanes& main() const { return main_; }
  const NormLanes& other() const { return other_; }

 private:
  static constexpr bool two_norms = residual == RTFQ_RESIDUAL_NORM;

  template <bool whole>
  static Floats centred(const NormQuantInput& in, const NormLanes& lanes, int64_t lane, int64_t offset,
                        int64_t n, std::bool_constant<whole> all) {
    return V::subtract(read<V>(static_cast<const T*>(in.x) + offset, n, all), V::load(lanes.mean + lane));
  }
  static Floats normalized(Floats centred, const NormLanes& lanes, int64_t lane) {
    return V::multiply_add(centred, V::load(lanes.factor + lane), V::load(lanes.shift + lane));
  }

  const NormQuantOperands& in_;
  Floats step_;
  NormLanes main_, other_;
};

/// The gradient of z from those of the codes' values and of the identity's; null gradients are zero.
template <class V, class T, rtfq_identity identity>
struct SumGradient {
  using Floats = typename V::Floats;
  UnsignedQuantizer<V> codes, identity_codes;
  const T *g_codes, *g_identity;

  SumGradient(const NormQuantShape& s, const NormQuantOperands& in, const void* of_codes,
              const void* of_identity)
      : codes(in.step, s.qp),
        identity_codes(identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp),
        g_codes(static_cast<const T*>(of_codes)),
        g_identity(identity == RTFQ_IDENTITY_NONE ? nullptr : static_cast<const T*>(of_identity)) {}

  template <bool whole>
  Floats at(Floats z, int64_t offset, int64_t n, Floats& ds, Floats& identity_ds,
            std::bool_constant<whole> all) const {
    Floats g = V::all(0.0f);
    if (g_codes) g = codes.backward(z, read<V>(g_codes + offset, n, all), ds);
    if constexpr (identity == RTFQ_IDENTITY_NONE) return g;
    if (!g_identity) return g;
    Floats more = read<V>(g_identity + offset, n, all);
    if constexpr (identity == RTFQ_IDENTITY_CODES)
      more = identity_codes.backward(z, more, identity_ds);
    else
      more = V::where(V::less(V::all(0.0f), z), more);
    return V::add(g, more);
  }
};

/// Calls f with the residual's kind as a constant.
template <class F>
void with_residual(rtfq_residual residual, F&& f) {
  switch (residual) {
    case RTFQ_RESIDUAL_NONE:
      return f(std::integral_constant<rtfq_residual, RTFQ_RESIDUAL_NONE>{});
    case RTFQ_RESIDUAL_VALUES:
      return f(std::integral_constant<rtfq_residual, RTFQ_RESIDUAL_VALUES>{});
    case RTFQ_RESIDUAL_CODES:
      return f(std::integral_constant<rtfq_residual, RTFQ_RESIDUAL_CODES>{});
    case RTFQ_RESIDUAL_NORM:
      return f(std::integral_constant<rtfq_residual, RTFQ_RESIDUAL_NORM>{});
  }
}

/// The same for the identity's.
template <class F>
void with_identity(rtfq_identity identity, F&& f) {
  switch (identity) {
    case RTFQ_IDENTITY_NONE:
      return f(std::integral_constant<rtfq_identity, RTFQ_IDENTITY_NONE>{});
    case RTFQ_IDENTITY_CODES:
      return f(std::integral_constant<rtfq_identity, RTFQ_IDENTITY_CODES>{});
    case RTFQ_IDENTITY_VALUES:
      return f(std::integral_constant<rtfq_identity, RTFQ_IDENTITY_VALUES>{});
  }
}

}  // namespace rtfq::kernels::cpu
