// The fused convolution in AVX-512 VNNI. A tile is up to 6 output pixels by 64 output channels: 24 registers
// of 16 sums each, to which every step adds the products of four input channels (a dword of each pixel,
// broadcast, times four vectors of weights): 24 vpdpbusd for 10 loads. Whole groups of 64 channels are
// finished in those registers; nothing wider than what the shape stores goes to memory. Padding is not
// multiplied (convquant_tiles.h).
//
// Floor: macs / 64 vpdpbusd, without those of the padding; a core that starts two each cycle does 128
// multiply-adds a cycle. Bytes: x once for each group of 64 output channels, weights once for each chunk of
// pixels (both from the second-level cache where they fit), outputs once. Figures:
// docs/results/cpu-inference.md.
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_products.h"
#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {
namespace {

struct Vnni {
  static constexpr int64_t group_vectors = cpu::group_vectors, finish_steps = 8;
  static constexpr bool vectors_apart = false;

  template <class F>
  class Tiles {
   public:
    Tiles(const ConvPlan<Vnni>& plan, const int8_t* packed, int64_t group, const ConvTiles::Region& region,
          const F& finish)
        : vectors_(plan.vectors_of(group)),
          channel_(group * group_channels),
          whole_(channel_ + group_channels <= plan.s.k),
          start_(reinterpret_cast<const int32_t*>(packed + plan.weight_bytes()) + channel_),
          finish_(finish) {
      const int64_t tap_bytes = plan.steps * vectors_ * 64;
      taps_ = {region.rows.taps(), region.columns.taps() * plan.steps, plan.line, plan.columns * tap_bytes};
      w_ = packed + group * plan.group_bytes() +
           (region.rows.first * plan.columns + region.columns.first) * tap_bytes;
    }

    int64_t steps() const { return taps_.rows * taps_.steps; }

    RTFQ_INLINE void operator()(const ConvPixels& pixels, Ahead ahead) const {
      if (whole_) {
        tiles<group_vectors, FinishGroup<F>>[pixels.count - 1](pixels.codes, taps_, w_, start_, ahead,
                                                               {finish_, pixels.outputs, channel_});
      } else {
        alignas(64) int32_t sums[ConvTiles::tile_pixels * group_channels];
        storing_tiles[vectors_ - 1][pixels.count - 1](pixels.codes, taps_, w_, start_, ahead, {sums});
        // What lies behind a pixel's vectors is of channels that there are not.
        const typename F::Group group = finish_.group_of(channel_);
        const typename F::Norm norm = finish_.norm_of(channel_, group);
        for (int64_t i = 0; i < pixels.count; ++i)
          F::template pixel<false>(sums + i * vectors_ * lanes, norm, group, pixels.outputs[i]);
      }
    }

   private:
    int64_t vectors_, channel_;
    bool whole_;
    const int32_t* start_;
    const F& finish_;
    Taps taps_;
    const int8_t* w_;
  };
};

using Plan = ConvPlan<Vnni>;

}  // namespace

const char* convquant_vnni_unsupported(const ConvQuantShape& s) {
  return conv_plan_unsupported<Vnni>(s.conv);
}

std::size_t convquant_vnni_workspace(const ConvQuantShape& s) {
  return Plan(s.conv).workspace_bytes();
}

std::size_t convquant_vnni_packed(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(plan.weight_bytes() + plan.start_bytes());
}

void convquant_vnni_pack(const ConvQuantShape& s, const void* weights, void* packed, Stream) {
  std::memset(packed, 0, convquant_vnni_packed(s));
  pack_weights(Plan(s.conv), static_cast<const int8_t*>(weights), static_cast<int8_t*>(packed));
}

void convquant_vnni(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  const uint8_t* x = read_codes(plan, a.x, a.workspace);
  with_finish<Finish>(s, a, [&](const auto& finish) {
    convolve(plan, x, {a.packed, a.next_packed, a.next_bytes}, finish);
  });
}

}  // namespace rtfq::kernels::cpu
