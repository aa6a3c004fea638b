// Weights as conv2d_wgmma.h takes them: for every part of the product and every step of its sum the rows of
// all columns, 128 bytes each under the swizzle of shared memory, so that a tile's rows of one step are one
// piece. Beyond the last term of a sum and the last column stand zeros.
//
// A thread makes one chunk of 16 bytes, 8 bf16 or 16 codes; neighbours take neighbouring chunks of a row
// where the weights lie along the sum (forward), neighbouring rows where they lie along the columns (data
// gradient). Floor: 4 bytes (1 of codes) read and 2 (1) written a weight. Not yet timed on a GPU.
#include "kernels/cuda/capability.h"
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_wgmma.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace wgmma {
namespace {

constexpr int pack_threads = 256;

struct Source {
  int filters, r, s, c_parent, pad;
  bool dgrad;
};

/// The weight of term `channel` of tap (r, s) of a part's column: w[k][r][s][c], of which the data gradient
/// has k as channel and taps turned round.
__device__ __forceinline__ int64_t source_index(const Source& from, const ConvProduct& z,
                                                const ConvPart& part, int column, int r, int s, int channel) {
  if (!from.dgrad)
    return ((static_cast<int64_t>(column) * from.r + r) * from.s + s) * from.c_parent + channel;
  const int turned_r = part.out_h + from.pad - (part.base_h + r) * z.out_step;
  const int turned_s = part.out_w + from.pad - (part.base_w + s) * z.out_step;
  return ((static_cast<int64_t>(channel) * from.r + turned_r) * from.s + turned_s) * from.c_parent + column;
}

template <class W>
__global__ void __launch_bounds__(pack_threads)
    pack_chunks(const __grid_constant__ ConvProduct z, const __grid_constant__ Packing packing,
                const Source from, const W* __restrict__ weights, unsigned char* __restrict__ packed) {
  constexpr int element = sizeof(W) == 1 ? 1 : 2, terms = 16 / element;
  const auto i = static_cast<int>(blockIdx.x * pack_threads + threadIdx.x);
  const ConvPart& part = z.part[blockIdx.y];
  const int step = i / (packing.weight_rows * 8), within = i % (packing.weight_rows * 8);
  if (step >= packing.part[blockIdx.y].steps) return;
  const int column = from.dgrad ? within % packing.weight_rows : within / 8;
  const int chunk = from.dgrad ? within / packing.weight_rows : within % 8;
  uint4 words{0, 0, 0, 0};
  const int term = (step * 8 + chunk) * terms, tap = term / z.channels, channel = term % z.channels;
  if (column < z.columns && tap < part.taps_h * part.taps_w) {
    const int r = tap / part.taps_w, s = tap % part.taps_w;
    uint32_t word[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const auto weight = [&](int k) {
        return weights[source_index(from, z, part, column, r, s, channel + k)];
      };
      if constexpr (element == 2)
        word[j] = access::pack_bf16(weight(2 * j), weight(2 * j + 1));
      else
        word[j] = static_cast<uint32_t>(static_cast<uint8_t>(weight(4 * j))) |
                  static_cast<uint32_t>(static_cast<uint8_t>(weight(4 * j + 1))) << 8 |
                  static_cast<uint32_t>(static_cast<uint8_t>(weight(4 * j + 2))) << 16 |
                  static_cast<uint32_t>(static_cast<uint8_t>(weight(4 * j + 3))) << 24;
    }
    words = uint4{word[0], word[1], word[2], word[3]};
  }
  *reinterpret_cast<uint4*>(packed + packing.part[blockIdx.y].weights +
                            static_cast<int64_t>(step) * packing.weight_rows * step_bytes +
                            simt::swizzled(static_cast<uint32_t>(column), static_cast<uint32_t>(chunk))) =
      words;
}

}  // namespace

Packing packing_of(const ConvProduct& z, int element) {
  Packing packing{};
  packing.weight_rows = (z.columns + 7) / 8 * 8;
  int64_t bytes = 0;
  for (int i = 0; i < z.parts; ++i) {
    const int64_t terms = int64_t{z.part[i].taps_h} * z.part[i].taps_w * z.channels * element;
    packing.part[i] = {bytes, static_cast<int>((terms + step_bytes - 1) / step_bytes)};
    bytes += int64_t{packing.part[i].steps} * packing.weight_rows * step_bytes;
  }
  packing.bytes = static_cast<std::size_t>(bytes);
  return packing;
}

void pack(const Conv2dShape& s, const ConvProduct& z, bool dgrad, const void* weights, void* packed,
          Stream stream) {
  const bool codes = s.w_type == RTFQ_S8;
  const Packing packing = packing_of(z, codes ? 1 : 2);
  const auto narrow = [](int64_t x) { return static_cast<int>(x); };
  const Source from{narrow(s.k), narrow(s.r), narrow(s.s), narrow(s.c_parent), narrow(s.pad), dgrad};
  int most = 0;
  for (int i = 0; i < z.parts; ++i) most = packing.part[i].steps > most ? packing.part[i].steps : most;
  if (most == 0) return;
  const dim3 grid(
      static_cast<unsigned>((int64_t{most} * packing.weight_rows * 8 + pack_threads - 1) / pack_threads),
      static_cast<unsigned>(z.parts));
  auto* to = static_cast<unsigned char*>(packed);
  if (codes)
    simt::launch(pack_chunks<int8_t>, grid, dim3(pack_threads), 0, stream_of(stream), z, packing, from,
                 static_cast<const int8_t*>(weights), to);
  else
    simt::launch(pack_chunks<float>, grid, dim3(pack_threads), 0, stream_of(stream), z, packing, from,
                 static_cast<const float*>(weights), to);
}

int tile_columns(const ConvProduct& z) {
  // What a full multiprocessor reaches of its rate with a tile: an estimate from bytes staged a product, not
  // yet measured.
  constexpr struct {
    int columns;
    double speed;
  } tiles[] = {{256, 1.0}, {192, 0.97}, {128, 0.92}, {96, 0.84}, {64, 0.7}};
  int best = 64;
  double least = 1e30;
  for (const auto& tile : tiles) {
    const double cost = tile_cost(z, rows, tile.columns, tile.speed);
    if (cost < least) {
      least = cost;
      best = tile.columns;
    }
  }
  return best;
}

}  // namespace wgmma

const char* conv2d_wgmma_unsupported(const Conv2dForward& op, const Conv2dShape& s) {
  const bool bf16s = s.x_type == RTFQ_BF16 && s.y_type == RTFQ_BF16, codes = s.w_type == RTFQ_S8;
  if (!bf16s && !codes) return "takes bf16 activations, or codes with s8 weights";
  if (const char* reason = unsupported_types(op, s)) return reason;
  if (!has_wgmma()) return "takes a GPU of compute capability 9.0";
  return product_unsupported(s, s.c, codes ? 1 : 2, s.k);
}
const char* conv2d_wgmma_unsupported(const Conv2dDgrad&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_BF16 || s.y_type != RTFQ_BF16) return "takes bf16 gradients";
  if (s.stride > 2) return "takes strides of 1 and 2";
  if (!has_wgmma()) return "takes a GPU of compute capability 9.0";
  return product_unsupported(s, s.k, 2, s.c);
}

void conv2d_wgmma(int tile, const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  const ConvProduct z = forward_product(s, s.c);
  if (s.w_type == RTFQ_S8)
    wgmma::launch_codes(z, tile, s.x_type, a.x, a.packed, a.scale, s.y_type, a.y, stream);
  else
    wgmma::launch_bf16(z, tile, a.x, a.packed, a.y, stream);
}
void conv2d_wgmma(int tile, const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  wgmma::launch_bf16(dgrad_product(s), tile, a.g, a.packed, a.dx, stream);
}

std::size_t conv2d_wgmma_packed(const Conv2dForward&, const Conv2dShape& s) {
  return wgmma::packing_of(forward_product(s, s.c), s.w_type == RTFQ_S8 ? 1 : 2).bytes;
}
std::size_t conv2d_wgmma_packed(const Conv2dDgrad&, const Conv2dShape& s) {
  return wgmma::packing_of(dgrad_product(s), 2).bytes;
}
void conv2d_wgmma_pack(const Conv2dForward&, const Conv2dShape& s, const void* weights, void* packed,
                       Stream stream) {
  wgmma::pack(s, forward_product(s, s.c), false, weights, packed, stream);
}
void conv2d_wgmma_pack(const Conv2dDgrad&, const Conv2dShape& s, const void* weights, void* packed,
                       Stream stream) {
  wgmma::pack(s, dgrad_product(s), true, weights, packed, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
