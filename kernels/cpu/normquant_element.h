#pragma once
// What the three fused passes compute of a run of 32 elements. Forward and gradients share it, so that z made
// again is the same bits.

#include "kernels/cpu/channel_tiles.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/normquant_layout.h"

namespace rtfq::kernels::cpu {

/// Stores x as T holds it and gives what is stored. `exact`: T holds x as it is. Its NaNs are a T's or the
/// processor's own: none of them becomes a number when bf16's rounding adds to it.
template <class V, bool exact, class T>
RTFQ_INLINE typename V::Run write_rounded(T* to, typename V::Run x, bool stream, int64_t n) {
  if constexpr (!exact)
    for (auto& part : x.part) part = V::template rounded_finite<T>(part);
  write_run<V, true>(to, x, n, stream);
  return x;
}

/// Codes in [0, qp] and the straight-through gradient.
template <class V>
struct UnsignedQuantizer {
  using Floats = typename V::Floats;
  Floats r, high, minus_high;

  /// A null step: the quantizer is not used.
  RTFQ_INLINE UnsignedQuantizer(const float* step, int32_t qp)
      : r(V::all(step ? 1.0f / *step : 0.0f)),
        high(V::all(static_cast<float>(qp))),
        minus_high(V::all(static_cast<float>(-qp))) {}

  /// The maximum answers its second operand for a NaN: the lowest code.
  RTFQ_INLINE Floats clamped(Floats v) const { return V::minimum(V::maximum(v, V::all(0.0f)), high); }

  RTFQ_INLINE typename V::Ints codes(Floats z) const { return V::ints(clamped(V::multiply(z, r))); }

  /// g where 0 < v < qp, and g*t added to `sum`: t is qp from qp on, 0 up to 0, the rounding error between,
  /// which is exact.
  RTFQ_INLINE Floats backward(Floats z, Floats g, Floats& sum) const {
    const Floats v = V::multiply(z, r);
    const auto inside = V::both(V::less(V::all(0.0f), v), V::less(v, high));
    const Floats beyond = V::where(V::at_most(high, v), minus_high);
    sum = V::subtract_product(g, V::fraction(inside, v, beyond), sum);
    return V::where(inside, g);
  }
};

/// What z needs of its channels, for a tile.
struct SumLanes {
  NormLanes main, other;

  template <class T>
  RTFQ_INLINE void fill(const NormQuantShape& s, const NormQuantOperands& in, int segment, int64_t channel,
                        int64_t width) {
    const auto one = [&](NormLanes& lanes, const NormQuantInput& from) RTFQ_INLINE_LAMBDA {
      lanes.fill<T>(s.norm, from.mean, from.variance, from.scale[segment], from.shift[segment], segment,
                    channel, width);
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
  using Run = typename V::Run;

  struct Element {
    Run main, other;  ///< x minus its mean, of both norms
    Run z;
  };

  RTFQ_INLINE explicit ResidualSum(const NormQuantOperands& in)
      : x_(static_cast<const T*>(in.main.x)),
        other_x_(static_cast<const T*>(in.other.x)),
        values_(static_cast<const T*>(in.residual)),
        codes_(static_cast<const uint8_t*>(in.residual)),
        step_(V::all(in.residual_step ? *in.residual_step : 0.0f)) {}

  RTFQ_INLINE Element at(const SumLanes& lanes, int64_t lane, int64_t offset, int64_t ahead,
                         int64_t n) const {
    Element e;
    e.main = centred<V>(stream_run<V>(x_ + offset, ahead, n), lanes.main, lane);
    e.z = normalized<V>(e.main, lanes.main, lane);
    if constexpr (residual == RTFQ_RESIDUAL_VALUES) e.z = sum(e.z, stream_run<V>(values_ + offset, ahead, n));
    if constexpr (residual == RTFQ_RESIDUAL_CODES) {
      if (lane % 64 == 0) _mm_prefetch(reinterpret_cast<const char*>(codes_ + offset + ahead), _MM_HINT_T0);
      const auto codes = read_codes<V, T>(codes_ + offset, n);
      e.z = by_parts<V>([&](int part, int64_t) RTFQ_INLINE_LAMBDA {
        return V::add(e.z.part[part], V::multiply(codes.part[part], step_));
      });
    }
    if constexpr (residual == RTFQ_RESIDUAL_NORM) {
      e.other = centred<V>(stream_run<V>(other_x_ + offset, ahead, n), lanes.other, lane);
      e.z = sum(e.z, normalized<V>(e.other, lanes.other, lane));
    }
    return e;
  }

 private:
  RTFQ_INLINE static Run sum(const Run& a, const Run& b) {
    return {{V::add(a.part[0], b.part[0]), V::add(a.part[1], b.part[1])}};
  }

  const T *x_, *other_x_, *values_;
  const uint8_t* codes_;
  typename V::Floats step_;
};

/// The gradient of z from those of the codes' values and of the identity's; null gradients are zero.
template <class V, class T, rtfq_identity identity>
struct SumGradient {
  using Run = typename V::Run;
  UnsignedQuantizer<V> codes, identity_codes;
  const T *g_codes, *g_identity;

  RTFQ_INLINE SumGradient(const NormQuantShape& s, const NormQuantOperands& in, const void* of_codes,
                          const void* of_identity)
      : codes(in.step, s.qp),
        identity_codes(identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp),
        g_codes(static_cast<const T*>(of_codes)),
        g_identity(identity == RTFQ_IDENTITY_NONE ? nullptr : static_cast<const T*>(of_identity)) {}

  RTFQ_INLINE Run at(const Run& z, int64_t offset, int64_t ahead, int64_t n, Run& ds,
                     Run& identity_ds) const {
    Run g{{V::all(0.0f), V::all(0.0f)}};
    if (g_codes) {
      const Run of_codes = stream_run<V>(g_codes + offset, ahead, n);
      for (int part = 0; part < 2; ++part)
        g.part[part] = codes.backward(z.part[part], of_codes.part[part], ds.part[part]);
    }
    if constexpr (identity == RTFQ_IDENTITY_NONE) return g;
    if (!g_identity) return g;
    const Run more = stream_run<V>(g_identity + offset, ahead, n);
    for (int part = 0; part < 2; ++part) {
      const auto passed = identity == RTFQ_IDENTITY_CODES
                              ? identity_codes.backward(z.part[part], more.part[part], identity_ds.part[part])
                              : V::where(V::less(V::all(0.0f), z.part[part]), more.part[part]);
      g.part[part] = V::add(g.part[part], passed);
    }
    return g;
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
