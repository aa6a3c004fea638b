#pragma once
// What the three fused passes compute of a run of 32 elements. Forward and gradients share it, so that z made
// again is the same bits.

#include <cmath>
#include <limits>

#include "kernels/cpu/channel_tiles.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/normquant_layout.h"

namespace rtfq::kernels::cpu {

/// Codes in [0, qp] and the straight-through gradient.
template <class V>
struct UnsignedQuantizer {
  using Floats = typename V::Floats;
  Floats r, high, minus_high, least, greatest;

  /// A null step: the quantizer is not used.
  RTFQ_INLINE UnsignedQuantizer(const float* step, int32_t qp)
      : r(V::all(step ? 1.0f / *step : 0.0f)),
        high(V::all(static_cast<float>(qp))),
        minus_high(V::all(static_cast<float>(-qp))),
        least(V::all(std::numeric_limits<float>::denorm_min())),
        greatest(V::all(std::nextafter(static_cast<float>(qp), 0.0f))) {}

  /// A NaN takes the lowest code: the maximum answers its second operand for one, and so does the minimum,
  /// whose NaN becomes the least integer, which is packed as 0.
  RTFQ_INLINE typename V::Ints codes(Floats z) const {
    const Floats v = V::multiply(z, r);
    if constexpr (V::packs_saturated)
      return V::ints(V::minimum(high, v));
    else
      return V::ints(V::minimum(V::maximum(v, V::all(0.0f)), high));
  }

  /// Where 0 < v < qp, and g*t added to `sum`: t is qp from qp on, 0 up to 0, the rounding error between,
  /// which is exact.
  RTFQ_INLINE typename V::Mask backward(Floats z, Floats g, Floats& sum) const {
    const Floats v = V::multiply(z, r);
    if constexpr (V::has_masks) {
      const auto below = V::below_or_nan(v, high), inside = V::both(below, V::less(V::all(0.0f), v));
      const Floats beyond = V::choose(below, V::all(0.0f), minus_high);
      sum = V::subtract_product(g, V::fraction(inside, v, beyond), sum);
      return inside;
    } else {
      // Clamped to the floats that lie inside, what lies there is itself; the others round to 0 and qp.
      const Floats nearest = V::minimum(V::maximum(v, least), greatest);
      const auto inside = V::equal(v, nearest);
      sum = V::multiply_add(g, V::subtract(V::round(nearest), V::where(inside, v)), sum);
      return inside;
    }
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

/// z = norm(x) + residual, a run at a time and of a run part by part, so that what a part needs stays in
/// registers. A value, whose members a kernel's loop keeps there too: bytes that it stores could change
/// anything in memory.
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

  static constexpr bool has_more = residual == RTFQ_RESIDUAL_VALUES || residual == RTFQ_RESIDUAL_NORM,
                        has_codes = residual == RTFQ_RESIDUAL_CODES;

  /// Where a run's operands lie; what lies `ahead` elements behind is fetched. `n`: elements that are there.
  class Run {
   public:
    RTFQ_INLINE Run(const ResidualSum& of, int64_t lane, int64_t offset, int64_t ahead, int64_t n)
        : x(of.x_ + offset, n),
          more(has_more ? of.more() + offset : nullptr, n),
          codes(has_codes ? of.codes_ + offset : nullptr, n) {
      prefetch_run(of.x_ + offset, ahead);
      if constexpr (has_more) prefetch_run(of.more() + offset, ahead);
      if constexpr (has_codes)
        if (lane % 64 == 0)
          _mm_prefetch(reinterpret_cast<const char*>(of.codes_ + offset + ahead), _MM_HINT_T0);
    }
    RunSource<T> x;
    RunSource<T, has_more> more;  ///< values, or the other norm's x
    RunSource<uint8_t, has_codes> codes;
  };

  RTFQ_INLINE Element at(const Run& run, const SumLanes& lanes, int64_t lane, int part) const {
    const int64_t l = lane + part * V::width;
    Element e;
    e.main = centred<V>(V::load_part(run.x, part), lanes.main, l);
    e.z = normalized<V>(e.main, lanes.main, l);
    if constexpr (residual == RTFQ_RESIDUAL_VALUES) e.z = V::add(e.z, V::load_part(run.more, part));
    if constexpr (residual == RTFQ_RESIDUAL_CODES)
      e.z = V::add(e.z, V::multiply(V::template load_code_part<T>(run.codes, part), step_));
    if constexpr (residual == RTFQ_RESIDUAL_NORM) {
      e.other = centred<V>(V::load_part(run.more, part), lanes.other, l);
      e.z = V::add(e.z, normalized<V>(e.other, lanes.other, l));
    }
    return e;
  }

 private:
  RTFQ_INLINE const T* more() const { return residual == RTFQ_RESIDUAL_NORM ? other_x_ : values_; }

  const T *x_, *other_x_, *values_;
  const uint8_t* codes_;
  Floats step_;
};

/// The gradient of z from those of the codes' values and of the identity's; null gradients are zero.
template <class V, class T, rtfq_identity identity>
struct SumGradient {
  using Floats = typename V::Floats;
  static constexpr bool has_identity = identity != RTFQ_IDENTITY_NONE;
  UnsignedQuantizer<V> codes, identity_codes;
  ArrayOrZeros<T> g_codes, g_identity;

  RTFQ_INLINE SumGradient(const NormQuantShape& s, const NormQuantOperands& in, const void* of_codes,
                          const void* of_identity)
      : codes(in.step, s.qp),
        identity_codes(identity == RTFQ_IDENTITY_CODES ? in.identity_step : nullptr, s.identity_qp),
        g_codes(of_codes),
        g_identity(of_identity) {}

  /// As ResidualSum's.
  class Run {
   public:
    RTFQ_INLINE Run(const SumGradient& of, int64_t offset, int64_t ahead, int64_t n)
        : of_codes(of.g_codes + offset, n), of_identity(of.g_identity + offset, n) {
      prefetch_run(of.g_codes + offset, ahead);
      if constexpr (has_identity) prefetch_run(of.g_identity + offset, ahead);
    }
    RunSource<T> of_codes;
    RunSource<T, has_identity> of_identity;
  };

  RTFQ_INLINE Floats at(const Run& run, Floats z, int part, Floats& ds, Floats& identity_ds) const {
    const Floats of_codes = V::load_part(run.of_codes, part);
    const Floats g = V::where(codes.backward(z, of_codes, ds), of_codes);
    if constexpr (identity == RTFQ_IDENTITY_CODES) {
      const Floats of_identity = V::load_part(run.of_identity, part);
      return V::add_where(identity_codes.backward(z, of_identity, identity_ds), g, of_identity);
    } else if constexpr (identity == RTFQ_IDENTITY_VALUES) {
      return V::add_where(V::less(V::all(0.0f), z), g, V::load_part(run.of_identity, part));
    } else {
      return g;
    }
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
