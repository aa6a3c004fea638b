#pragma once
// What the three fused passes compute of sixteen elements. Forward and gradients share it, so that z made
// again is the same bits.

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/normquant_layout.h"

namespace rtfq::kernels::cpu {

/// Stores x as T holds it and gives what is stored. `exact`: T holds x as it is. Its NaNs are a T's or the
/// processor's own: none of them becomes a number when bf16's rounding adds to it.
template <class V, bool exact, bool whole, class T>
RTFQ_INLINE typename V::Floats write_rounded(T* to, typename V::Floats x, bool stream, int64_t n,
                                             std::bool_constant<whole>) {
  if constexpr (!exact) x = V::template rounded_finite<T>(x);
  if constexpr (whole)
    stream ? V::template store_exact<true>(to, x) : V::template store_exact<false>(to, x);
  else
    V::store(to, x, n);
  return x;
}

/// Codes in [0, qp] and the straight-through gradient.
template <class V>
struct UnsignedQuantizer {
  using Floats = typename V::Floats;
  Floats r, high;

  /// A null step: the quantizer is not used.
  RTFQ_INLINE UnsignedQuantizer(const float* step, int32_t qp)
      : r(V::all(step ? 1.0f / *step : 0.0f)), high(V::all(static_cast<float>(qp))) {}

  /// The maximum answers its second operand for a NaN: the lowest code.
  RTFQ_INLINE Floats clamped(Floats v) const { return V::minimum(V::maximum(v, V::all(0.0f)), high); }

  RTFQ_INLINE __m128i codes(Floats z) const { return V::bytes(clamped(V::multiply(z, r))); }

  /// g where 0 < v < qp, and g*t added to `sum`: t is qp from qp on, 0 up to 0, the rounding error between.
  RTFQ_INLINE Floats backward(Floats z, Floats g, Floats& sum) const {
    const Floats v = V::multiply(z, r), inside = clamped(v);
    const auto below = V::less(v, high);
    sum = V::multiply_add(g, V::subtract(V::round(inside), V::where(below, inside)), sum);
    return V::where(V::both(V::less(V::all(0.0f), v), below), g);
  }
};

/// What z needs of its channels, for a tile.
struct SumLanes {
  NormLanes main, other;

  RTFQ_INLINE void fill(const NormQuantShape& s, const NormQuantOperands& in, int segment, int64_t channel,
                        int64_t width) {
    const auto one = [&](NormLanes& lanes, const NormQuantInput& from) RTFQ_INLINE_LAMBDA {
      lanes.fill(s.norm, from.mean, from.variance, from.scale[segment], from.shift[segment], segment, channel,
                 width);
    };
    one(main, in.main);
    if (s.residual == RTFQ_RESIDUAL_NORM) one(other, in.other);
  }
};

/// z = norm(x) + residual. A value, whose members a kernel's loop keeps in registers: bytes that it stores
/// could change anything in memory.
template <class V, class T, rtfq_residual residual>
class ResidualSum {
 public:
  using Floats = typename V::Floats;

  struct Element {
    Floats main, other;  ///< x minus its mean, of both norms
    Floats z;
  };

  RTFQ_INLINE explicit ResidualSum(const NormQuantOperands& in)
      : x_(static_cast<const T*>(in.main.x)),
        other_x_(static_cast<const T*>(in.other.x)),
        values_(static_cast<const T*>(in.residual)),
        codes_(static_cast<const uint8_t*>(in.residual)),
        step_(V::all(in.residual_step ? *in.residual_step : 0.0f)) {}

  template <bool whole>
  RTFQ_INLINE Element at(const SumLanes& lanes, int64_t lane, int64_t offset, int64_t n,
                         std::bool_constant<whole> all) const {
    Element e;
    prefetch_at(x_ + offset, lane);
    e.main = V::subtract(read<V>(x_ + offset, n, all), V::load(lanes.main.mean + lane));
    e.z = normalized(e.main, lanes.main, lane);
    if constexpr (residual == RTFQ_RESIDUAL_VALUES) {
      prefetch_at(values_ + offset, lane);
      e.z = V::add(e.z, read<V>(values_ + offset, n, all));
    }
    if constexpr (residual == RTFQ_RESIDUAL_CODES) {
      prefetch_at(codes_ + offset, lane);
      e.z = V::add(e.z, V::multiply(read<V>(codes_ + offset, n, all), step_));
    }
    if constexpr (residual == RTFQ_RESIDUAL_NORM) {
      prefetch_at(other_x_ + offset, lane);
      e.other = V::subtract(read<V>(other_x_ + offset, n, all), V::load(lanes.other.mean + lane));
      e.z = V::add(e.z, normalized(e.other, lanes.other, lane));
    }
    return e;
  }

 private:
  RTFQ_INLINE static Floats normalized(Floats centred, const NormLanes& lanes, int64_t lane) {
    return V::multiply_add(centred, V::load(lanes.factor + lane), V::load(lanes.shift + lane));
  }

  const T *x_, *other_x_, *values_;
  const uint8_t* codes_;
  Floats step_;
};

/// The gradient of z from those of the codes' values and of the identity's; null gradients are zero.
template <class V, class T, rtfq_identity identity>
struct SumGradient {
  using Floats = typename V::Floats;
  UnsignedQuantizer<V> codes, identity_codes;
  const T *g_codes, *g_identity;

  RTFQ_INLINE SumGradient(const NormQuantShape& s, const NormQuantOperands& in, const void* of_codes,
                          const void* of_identity)
      : codes(in.step, s.qp),
        identity_codes(identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp),
        g_codes(static_cast<const T*>(of_codes)),
        g_identity(identity == RTFQ_IDENTITY_NONE ? nullptr : static_cast<const T*>(of_identity)) {}

  template <bool whole>
  RTFQ_INLINE Floats at(Floats z, int64_t lane, int64_t offset, int64_t n, Floats& ds, Floats& identity_ds,
                        std::bool_constant<whole> all) const {
    Floats g = V::all(0.0f);
    if (g_codes) {
      prefetch_at(g_codes + offset, lane);
      g = codes.backward(z, read<V>(g_codes + offset, n, all), ds);
    }
    if constexpr (identity == RTFQ_IDENTITY_NONE) return g;
    if (!g_identity) return g;
    prefetch_at(g_identity + offset, lane);
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
