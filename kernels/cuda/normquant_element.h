#pragma once
// What the three fused passes compute of V neighbouring channels. Forward and gradients share it, so that z
// made again is the same bits; the expressions are those of kernels/cpu/normquant_element.h.

#include <type_traits>

#include "kernels/cuda/channel_rows.h"
#include "kernels/cuda/normquant.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Kinds of residual and identity, known when a kernel is compiled: what it does not need costs nothing.
template <rtfq_residual of, rtfq_identity to>
struct FixedKinds {
  static constexpr rtfq_residual residual = of;
  static constexpr rtfq_identity identity = to;
};
/// The same, known when it runs: for channel counts that few use.
struct AnyKinds {
  rtfq_residual residual;
  rtfq_identity identity;
};

template <class Kinds>
constexpr bool two_norms = false;
template <rtfq_identity to>
constexpr bool two_norms<FixedKinds<RTFQ_RESIDUAL_NORM, to>> = true;

/// Channels that a thread keeps: 16 bytes, but where two norms' factors would fill the registers 8 bytes of
/// bf16.
template <class T, class Kinds>
constexpr int normquant_width = two_norms<Kinds> ? 4 : per_access<T>;

/// Places of a tile's factors in shared memory.
enum NormFactor { mean_factor, scale_factor, shift_factor, mean_g_factor, slope_factor, norm_factors };

template <int V>
using TileFactors = float[RowWalk<V>::most_width];

/// One norm's factors of V channels.
template <int V>
struct NormChannels {
  Floats<V> mean, factor, shift;

  __device__ __forceinline__ void take(const TileFactors<V>* tile, int x) {
    mean = load<V>(&tile[mean_factor][x]);
    factor = load<V>(&tile[scale_factor][x]);
    shift = load<V>(&tile[shift_factor][x]);
  }
};

/// Works out a norm's factors of the tile's channel j. The block meets before they are read.
template <int V>
__device__ __forceinline__ void fill_norm(const ChannelRows& r, const RowWalk<V>& walk,
                                          const NormQuantInput& in, float epsilon, TileFactors<V>* tile,
                                          int j) {
  const int channel = walk.first + j, at = walk.segment * r.c + channel;
  tile[mean_factor][j] = in.mean[at];
  tile[scale_factor][j] = inverse_deviation(in.variance[at], epsilon) * in.scale[walk.segment][channel];
  tile[shift_factor][j] = in.shift[walk.segment][channel];
}

/// Of all channels of a block, both norms' factors.
template <int V, class Kinds>
__device__ __forceinline__ void fill_norms(const ChannelRows& r, const RowWalk<V>& walk,
                                           const NormQuantOperands& in, Kinds kinds, float epsilon,
                                           TileFactors<V>* main, TileFactors<V>* other) {
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += ChannelRows::threads) {
    fill_norm(r, walk, in.main, epsilon, main, j);
    if (kinds.residual == RTFQ_RESIDUAL_NORM) fill_norm(r, walk, in.other, epsilon, other, j);
  }
}

/// z = norm(x) + residual.
template <class T, int V, class Kinds>
struct ResidualSum {
  Kinds kinds;
  NormChannels<V> main, other;
  const T *x, *other_x, *values;
  const uint8_t* codes;
  float step;

  struct Fetched {
    Packed<T, V> x, more;  ///< more: the other norm's x, or values
    Packed<uint8_t, V> codes;
  };
  struct Element {
    Floats<V> main, other;  ///< x minus its mean, of both norms
    Floats<V> z;
  };

  __device__ __forceinline__ ResidualSum(Kinds kinds_of, const NormQuantOperands& in)
      : kinds(kinds_of),
        x(static_cast<const T*>(in.main.x)),
        other_x(static_cast<const T*>(in.other.x)),
        values(static_cast<const T*>(in.residual)),
        codes(static_cast<const uint8_t*>(in.residual)),
        step(kinds_of.residual == RTFQ_RESIDUAL_CODES ? *in.residual_step : 0.0f) {}

  __device__ __forceinline__ void take(const TileFactors<V>* of_main, const TileFactors<V>* of_other,
                                       int at) {
    main.take(of_main, at);
    if (kinds.residual == RTFQ_RESIDUAL_NORM) other.take(of_other, at);
  }

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    Fetched in{};
    in.x = RTFQ_GPU::fetch<V>(x + i);
    if (kinds.residual == RTFQ_RESIDUAL_VALUES) in.more = RTFQ_GPU::fetch<V>(values + i);
    if (kinds.residual == RTFQ_RESIDUAL_CODES) in.codes = RTFQ_GPU::fetch<V>(codes + i);
    if (kinds.residual == RTFQ_RESIDUAL_NORM) in.more = RTFQ_GPU::fetch<V>(other_x + i);
    return in;
  }

  __device__ __forceinline__ Element at(const Fetched& in) const {
    Element e{};
    e.main = floats(in.x);
    e.z = normalized(e.main, main);
    if (kinds.residual == RTFQ_RESIDUAL_VALUES) add(e.z, floats(in.more));
    if (kinds.residual == RTFQ_RESIDUAL_CODES) {
      Floats<V> more = floats(in.codes);
#pragma unroll
      for (int j = 0; j < V; ++j) more.v[j] *= step;
      add(e.z, more);
    }
    if (kinds.residual == RTFQ_RESIDUAL_NORM) {
      e.other = floats(in.more);
      add(e.z, normalized(e.other, other));
    }
    return e;
  }

 private:
  /// Leaves x minus its mean in `x`.
  static __device__ __forceinline__ Floats<V> normalized(Floats<V>& x, const NormChannels<V>& norm) {
    Floats<V> y;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      x.v[j] -= norm.mean.v[j];
      y.v[j] = __fmaf_rn(x.v[j], norm.factor.v[j], norm.shift.v[j]);
    }
    return y;
  }
  static __device__ __forceinline__ void add(Floats<V>& z, const Floats<V>& more) {
#pragma unroll
    for (int j = 0; j < V; ++j) z.v[j] += more.v[j];
  }
};

/// Codes in [0, qp] and the straight-through gradient.
struct UnsignedQuantizer {
  float r = 0, high = 0;

  __device__ __forceinline__ void set(const float* step, int32_t qp) {
    r = __frcp_rn(*step);
    high = static_cast<float>(qp);
  }
  /// A NaN takes the lowest code.
  __device__ __forceinline__ float clamped(float v) const { return fminf(fmaxf(v, 0.0f), high); }

  template <int V>
  __device__ __forceinline__ void store(uint8_t* to, const Floats<V>& z) const {
    Floats<V> v;
#pragma unroll
    for (int j = 0; j < V; ++j) v.v[j] = clamped(z.v[j] * r);
    store_codes<V>(to, v);
  }
  /// g where 0 < v < qp, else 0; g*t is added to `sum`: t is qp from qp on, 0 up to 0, the rounding error
  /// between.
  __device__ __forceinline__ float backward(float z, float g, float& sum) const {
    const float v = z * r, inside = clamped(v);
    sum = __fmaf_rn(g, v >= high ? high : round_even(inside) - inside, sum);
    return 0.0f < v && v < high ? g : 0.0f;
  }
};

/// The gradient of z from those of the codes' values and of the identity's; null gradients are zero.
template <class T, int V, class Kinds>
struct SumGradient {
  Kinds kinds;
  UnsignedQuantizer codes, identity;
  const T *g_codes, *g_identity;
  float ds = 0, identity_ds = 0;

  struct Fetched {
    Packed<T, V> codes, identity;
  };

  __device__ __forceinline__ SumGradient(Kinds kinds_of, const NormQuantOperands& in, const void* of_codes,
                                         const void* of_identity, int32_t qp, int32_t identity_qp)
      : kinds(kinds_of),
        g_codes(static_cast<const T*>(of_codes)),
        g_identity(kinds_of.identity == RTFQ_IDENTITY_NONE ? nullptr : static_cast<const T*>(of_identity)) {
    codes.set(in.step, qp);
    if (kinds.identity == RTFQ_IDENTITY_CODES) identity.set(in.identity_step, identity_qp);
  }

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    Fetched in{};
    if (g_codes) in.codes = RTFQ_GPU::fetch<V>(g_codes + i);
    if (g_identity) in.identity = RTFQ_GPU::fetch<V>(g_identity + i);
    return in;
  }

  __device__ __forceinline__ Floats<V> at(const Floats<V>& z, const Fetched& in) {
    const Floats<V> of_codes = floats(in.codes);
    Floats<V> g;
#pragma unroll
    for (int j = 0; j < V; ++j) g.v[j] = codes.backward(z.v[j], of_codes.v[j], ds);
    if (kinds.identity == RTFQ_IDENTITY_NONE || !g_identity) return g;
    const Floats<V> of_identity = floats(in.identity);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float more = kinds.identity == RTFQ_IDENTITY_CODES
                             ? identity.backward(z.v[j], of_identity.v[j], identity_ds)
                         : 0.0f < z.v[j] ? of_identity.v[j]
                                         : 0.0f;
      g.v[j] += more;
    }
    return g;
  }
};

/// Calls f with the residual's and the identity's kinds as a FixedKinds.
template <class F>
void with_kinds(const NormQuantShape& s, F&& f) {
  const auto with_identity = [&]<rtfq_residual residual>() {
    switch (s.identity) {
      case RTFQ_IDENTITY_NONE:
        return f(FixedKinds<residual, RTFQ_IDENTITY_NONE>{});
      case RTFQ_IDENTITY_CODES:
        return f(FixedKinds<residual, RTFQ_IDENTITY_CODES>{});
      case RTFQ_IDENTITY_VALUES:
        return f(FixedKinds<residual, RTFQ_IDENTITY_VALUES>{});
    }
  };
  switch (s.residual) {
    case RTFQ_RESIDUAL_NONE:
      return with_identity.template operator()<RTFQ_RESIDUAL_NONE>();
    case RTFQ_RESIDUAL_VALUES:
      return with_identity.template operator()<RTFQ_RESIDUAL_VALUES>();
    case RTFQ_RESIDUAL_CODES:
      return with_identity.template operator()<RTFQ_RESIDUAL_CODES>();
    case RTFQ_RESIDUAL_NORM:
      return with_identity.template operator()<RTFQ_RESIDUAL_NORM>();
  }
}

/// Every operand that a kernel of width V reads or writes at once starts where it may.
template <class T, int V>
bool operands_aligned(const NormQuantShape& s, const NormQuantOperands& in) {
  constexpr std::size_t bytes = V * sizeof(T);
  return s.norm.c % V == 0 && aligned(in.main.x, bytes) &&
         (s.residual != RTFQ_RESIDUAL_NORM || aligned(in.other.x, bytes)) &&
         (s.residual != RTFQ_RESIDUAL_VALUES || aligned(in.residual, bytes)) &&
         (s.residual != RTFQ_RESIDUAL_CODES || aligned(in.residual, V));
}

/// Calls f with the kinds as a FixedKinds and the width that goes with them where the operands and what else
/// `aligned_to` looks at start where they may; else with kinds known when it runs, and a width of one.
template <class T, class Aligned, class F>
void with_kinds_and_width(const NormQuantShape& s, const NormQuantOperands& in, const Aligned& aligned_to,
                          const F& f) {
  with_kinds(s, [&](auto kinds) {
    constexpr int V = normquant_width<T, decltype(kinds)>;
    if (operands_aligned<T, V>(s, in) && aligned_to(std::size_t{V}))
      f(kinds, std::integral_constant<int, V>{});
    else
      f(AnyKinds{s.residual, s.identity}, std::integral_constant<int, 1>{});
  });
}

}  // namespace rtfq::kernels::RTFQ_GPU
