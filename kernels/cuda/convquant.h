#pragma once
// What becomes of a convolution's exact sums where norm, residual and quantizers follow in the same pass
// (kernels/convquant.h), for V neighbouring output channels. The expressions are those of the passes one by
// one: conv2d_mma.h for y, normquant_element.h for the rest.

#include "kernels/convquant.h"
#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/normquant_element.h"

namespace rtfq::kernels::RTFQ_GPU {

struct QuantizeSums {
  ConvQuantArgs a;
  rtfq_residual residual;
  rtfq_identity identity;
  int32_t qp, identity_qp;
  bool quantized;

  QuantizeSums(const ConvQuantShape& s, const ConvQuantArgs& args)
      : a(args),
        residual(s.residual),
        identity(s.identity),
        qp(s.qp),
        identity_qp(s.identity_qp),
        quantized(s.quantized) {}

  /// Every operand starts where accesses to 8 channels may.
  bool is_aligned() const {
    const auto may = [](const void* p, bool wide) { return aligned(p, wide ? 16 : 8); };
    return aligned(a.scale, 16) && aligned(a.mean, 16) && aligned(a.factor, 16) && aligned(a.shift, 16) &&
           may(a.y, !quantized) && may(a.residual, residual == RTFQ_RESIDUAL_VALUES) &&
           may(a.identity, identity == RTFQ_IDENTITY_VALUES);
  }

  template <int V>
  struct Channels {
    const QuantizeSums& of;
    Floats<V> scale, mean, factor, shift;
    UnsignedQuantizer quantizer, identity_quantizer;
    float residual_step;

    __device__ __forceinline__ explicit Channels(const QuantizeSums& all)
        : of(all),
          scale{},
          mean{},
          factor{},
          shift{},
          residual_step(all.residual == RTFQ_RESIDUAL_CODES ? *all.a.residual_step : 0.0f) {
      if (of.quantized) quantizer.set(of.a.step, of.qp);
      if (of.identity == RTFQ_IDENTITY_CODES) identity_quantizer.set(of.a.identity_step, of.identity_qp);
    }
    __device__ __forceinline__ void channels(int column) {
      scale = load<V>(of.a.scale + column);
      mean = load<V>(of.a.mean + column);
      factor = load<V>(of.a.factor + column);
      shift = load<V>(of.a.shift + column);
    }
    /// `at`: the first one's element.
    __device__ __forceinline__ void store(int64_t at, const int (&sum)[V]) const {
      Floats<V> z;
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float y = scale.v[j] * static_cast<float>(sum[j]);
        z.v[j] = __fmaf_rn(y - mean.v[j], factor.v[j], shift.v[j]);
      }
      if (of.residual == RTFQ_RESIDUAL_VALUES) {
        const Floats<V> more = load<V>(static_cast<const float*>(of.a.residual) + at);
#pragma unroll
        for (int j = 0; j < V; ++j) z.v[j] += more.v[j];
      }
      if (of.residual == RTFQ_RESIDUAL_CODES) {
        const Floats<V> more = load<V>(static_cast<const uint8_t*>(of.a.residual) + at);
#pragma unroll
        for (int j = 0; j < V; ++j) z.v[j] += more.v[j] * residual_step;
      }
      if (!of.quantized) {
        RTFQ_GPU::store<V>(static_cast<float*>(of.a.y) + at, z);
        return;
      }
      quantizer.store(static_cast<uint8_t*>(of.a.y) + at, z);
      if (of.identity == RTFQ_IDENTITY_CODES)
        identity_quantizer.store(static_cast<uint8_t*>(of.a.identity) + at, z);
      if (of.identity == RTFQ_IDENTITY_VALUES) {
#pragma unroll
        for (int j = 0; j < V; ++j) z.v[j] = z.v[j] < 0.0f ? 0.0f : z.v[j];  // a NaN stays one
        RTFQ_GPU::store<V>(static_cast<float*>(of.a.identity) + at, z);
      }
    }
  };
  using Thread = Channels<8>;
};

/// On tensor cores, on tiles of a size or by cost (convquant_mma.cu); of few channels: folded first.
template <ConvTile>
void convquant_mma(const ConvQuantShape&, const ConvQuantArgs&, Stream);
void convquant_mma_folded(const ConvQuantShape&, const ConvQuantArgs&, Stream);
void convquant_naive(const ConvQuantShape&, const ConvQuantArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
