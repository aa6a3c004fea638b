// Where the operands of a convolution lie as a matrix product (conv2d_geometry.h), and the kernels that lay
// weights and images out for it.
//
// pack_dense, pack_folded: a thread takes one element of the result, a block 256 neighbours; pack_turned
// transposes through a 32 x 33 tile, a block of 32 x 8 threads a tile of output and input channels under one
// tap. fold_image: a thread takes one pixel of the copy, written at once. All are bound by memory. Floor: 4
// bytes read and 2 or 4 written a weight; an image read, 8 or 16 bytes written a pixel. Shared memory: 4.1 KB in
// pack_turned. Not yet timed on a GPU.
#include <algorithm>

#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/conv2d_tf32.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = 256, side = 32;

int narrow(int64_t x) {
  return static_cast<int>(x);
}

/// The taps of one axis that output places of remainder `place` see, and the input place their first one
/// sees.
struct Axis {
  int taps, base, count;
  Axis(int64_t size, int64_t filter, int64_t pad, int64_t stride, int64_t place) {
    const int64_t first = (place + pad) % stride;
    taps = narrow(first < filter ? (filter - 1 - first) / stride + 1 : 0);
    base = narrow((place + pad - first) / stride - (taps - 1));
    count = narrow(place < size ? (size - place + stride - 1) / stride : 0);
  }
};

__device__ __forceinline__ int this_thread() {
  return static_cast<int>(blockIdx.x * threads + threadIdx.x);
}

/// Result [filters][c], filters being taps of all filters.
__global__ void __launch_bounds__(threads)
    dense(int count, int c, int c_parent, const float* __restrict__ weights, bf16* __restrict__ packed) {
  const int i = this_thread();
  if (i >= count) return;
  store<1>(packed + i, load<1>(weights + static_cast<int64_t>(i / c) * c_parent + i % c));
}

/// Result [filters][columns][channels], filters being rows of all filters.
template <class From, class To>
__global__ void __launch_bounds__(threads)
    folded(int count, int s, int c, int c_parent, int columns, int channels, const From* __restrict__ weights,
           To* __restrict__ packed) {
  const int i = this_thread();
  if (i >= count) return;
  const int channel = i % channels, column = i / channels % columns, row = i / channels / columns;
  From value{};
  if (channel < c && column < s)
    value = weights[(static_cast<int64_t>(row) * s + column) * c_parent + channel];
  if constexpr (std::is_same_v<From, To>)
    packed[i] = value;
  else
    store<1>(packed + i, Floats<1>{{value}});
}

/// Tap blockIdx.z of all filters, transposed.
template <class To>
__global__ void __launch_bounds__(side * 8)
    turned(const __grid_constant__ ConvProduct z, int k_count, int s_count, int c_parent, int stride, int pad,
           const float* __restrict__ weights, To* __restrict__ packed) {
  SIMT_SHARED(float, tile, [side][side + 1]);
  const int tap = static_cast<int>(blockIdx.z), taps = static_cast<int>(gridDim.z);
  const int r = tap / s_count, s = tap % s_count;
  const int c0 = static_cast<int>(blockIdx.x) * side, k0 = static_cast<int>(blockIdx.y) * side;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < side; i += 8) {
    const int k = k0 + i, c = c0 + lane;
    tile[i][lane] =
        k < k_count && c < z.columns ? weights[(static_cast<int64_t>(k) * taps + tap) * c_parent + c] : 0.0f;
  }
  __syncthreads();
  // The part whose pixels see this tap, and where among its taps: they are turned round.
  const int out_h = (r % stride + stride - pad % stride) % stride;
  const int out_w = (s % stride + stride - pad % stride) % stride;
  int own = 0;
  while (z.part[own].out_h != out_h || z.part[own].out_w != out_w) ++own;
  const ConvPart& part = z.part[own];
  const int place = (part.taps_h - 1 - r / stride) * part.taps_w + part.taps_w - 1 - s / stride;
  for (int i = static_cast<int>(threadIdx.y); i < side; i += 8) {
    const int c = c0 + i, k = k0 + lane;
    if (c < z.columns && k < k_count)
      store<1>(
          packed + part.weights + (static_cast<int64_t>(c) * part.taps_h * part.taps_w + place) * k_count + k,
          Floats<1>{{tile[lane][i]}});
  }
}

/// V elements a pixel of the result, of which up to 4 are the image's.
template <int V, class From, class To>
__global__ void __launch_bounds__(threads)
    fold(int count, int height, int width, int h_count, int w_count, int c, int pad,
         const From* __restrict__ x, To* __restrict__ to) {
  const int i = this_thread();
  if (i >= count) return;
  const int line = i / width, image = line / height;
  const int h = line - image * height - pad, w = i - line * width - pad;
  From own[4] = {};
  if (static_cast<unsigned>(h) < static_cast<unsigned>(h_count) &&
      static_cast<unsigned>(w) < static_cast<unsigned>(w_count)) {
    const From* from = x + ((static_cast<int64_t>(image) * h_count + h) * w_count + w) * c;
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (j < c) own[j] = from[j];
  }
  Packed<To, V> pixel{};
  if constexpr (std::is_same_v<To, float>) {
#pragma unroll
    for (int j = 0; j < V; ++j) pixel.bits.w[j] = __float_as_uint(own[j]);
  } else if constexpr (sizeof(To) == 1) {
    pixel.bits.w[0] = access::low_bytes(static_cast<uint8_t>(own[0]), static_cast<uint8_t>(own[1]),
                                        static_cast<uint8_t>(own[2]), static_cast<uint8_t>(own[3]));
  } else if constexpr (std::is_same_v<From, bf16>) {
    pixel.bits.w[0] = own[0].bits | uint32_t{own[1].bits} << 16;
    pixel.bits.w[1] = own[2].bits | uint32_t{own[3].bits} << 16;
  } else {
    pixel.bits.w[0] = access::pack_bf16(static_cast<float>(own[0]), static_cast<float>(own[1]));
    pixel.bits.w[1] = access::pack_bf16(static_cast<float>(own[2]), static_cast<float>(own[3]));
  }
  put(to + static_cast<int64_t>(i) * V, pixel);
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

}  // namespace

const char* product_unsupported(const Conv2dShape& s, int64_t channels, int64_t bytes, int64_t columns) {
  constexpr int64_t most = INT32_MAX / 2;
  if (channels * bytes % 16) return "takes input channels that fill chunks of 16 bytes";
  if (columns % 8) return "takes output channels that are multiples of 8";
  if (s.r > ConvProduct::most_taps || s.s > ConvProduct::most_taps) return "takes filters of at most 8x8";
  if (s.n * s.h * s.w * s.c > most || s.n * output_height(s) * output_width(s) * s.k > most ||
      s.k * s.r * s.s * s.c_parent > most || s.h + 2 * s.pad > most || s.w + 2 * s.pad > most)
    return "takes operands of at most 2^30 elements";
  return nullptr;
}

ConvProduct forward_product(const Conv2dShape& s, int64_t tap_pitch) {
  ConvProduct z{};
  const int64_t p = output_height(s), q = output_width(s);
  z.part[0] = {narrow(s.n * p * q),
               narrow(p),
               narrow(q),
               narrow(-s.pad),
               narrow(-s.pad),
               narrow(s.r),
               narrow(s.s),
               0,
               0,
               0};
  z.parts = 1;
  z.channels = narrow(s.c);
  z.columns = narrow(s.k);
  z.tap_pitch = narrow(tap_pitch);
  z.in_h = narrow(s.h);
  z.in_w = narrow(s.w);
  z.in_image = narrow(s.h * s.w * s.c);
  z.in_row = narrow(s.w * s.c);
  z.in_pixel = narrow(s.c);
  z.step = narrow(s.stride);
  z.out_height = narrow(p);
  z.out_width = narrow(q);
  z.out_step = 1;
  z.n = narrow(s.n);
  return z;
}

ConvProduct dgrad_product(const Conv2dShape& s) {
  ConvProduct z{};
  const int64_t p = output_height(s), q = output_width(s);
  int64_t weights = 0;
  for (int64_t out_h = 0; out_h < s.stride; ++out_h)
    for (int64_t out_w = 0; out_w < s.stride; ++out_w) {
      const Axis v(s.h, s.r, s.pad, s.stride, out_h), u(s.w, s.s, s.pad, s.stride, out_w);
      z.part[z.parts++] = {narrow(s.n * v.count * u.count),
                           v.count,
                           u.count,
                           v.base,
                           u.base,
                           v.taps,
                           u.taps,
                           narrow(out_h),
                           narrow(out_w),
                           narrow(weights)};
      weights += s.c * s.k * v.taps * u.taps;
    }
  // The longest sums start first.
  std::stable_sort(z.part, z.part + z.parts, [](const ConvPart& a, const ConvPart& b) {
    return a.taps_h * a.taps_w > b.taps_h * b.taps_w;
  });
  z.channels = narrow(s.k);
  z.columns = narrow(s.c);
  z.tap_pitch = narrow(s.k);
  z.in_h = narrow(p);
  z.in_w = narrow(q);
  z.in_image = narrow(p * q * s.k);
  z.in_row = narrow(q * s.k);
  z.in_pixel = narrow(s.k);
  z.step = 1;
  z.out_height = narrow(s.h);
  z.out_width = narrow(s.w);
  z.out_step = narrow(s.stride);
  z.n = narrow(s.n);
  return z;
}

ConvFold::ConvFold(const Conv2dShape& s, rtfq_dtype type) {
  const int64_t pixel = s.stride % 2 || type == RTFQ_F32 ? 16 : 8;  // bytes
  const auto even = [&](int64_t pixels) { return narrow(pixel == 8 ? pixels + pixels % 2 : pixels); };
  channels = narrow(pixel / element_bytes(type));
  columns = even(s.s);
  height = narrow((output_height(s) - 1) * s.stride + s.r);
  width = even((output_width(s) - 1) * s.stride + columns);
}

std::size_t folded_bytes(const Conv2dShape& s, rtfq_dtype type) {
  const ConvFold f(s, type);
  return static_cast<std::size_t>(s.n * f.height * f.width * f.channels * element_bytes(type));
}

const char* fold_unsupported(const Conv2dShape& s, rtfq_dtype type) {
  if (s.c > 4) return "takes at most 4 input channels";
  if (const char* reason = product_unsupported(s, 16, 1, s.k)) return reason;
  return folded_bytes(s, type) > INT32_MAX / 2 ? "takes copies of images of at most 2^30 bytes" : nullptr;
}

ConvProduct folded_product(const Conv2dShape& s, rtfq_dtype type) {
  const ConvFold f(s, type);
  ConvProduct z = forward_product(s, f.columns * f.channels);
  z.part[0].base_h = z.part[0].base_w = 0;
  z.part[0].taps_w = 1;
  z.channels = f.columns * f.channels;
  z.in_h = f.height;
  z.in_w = f.width;
  z.in_image = f.height * f.width * f.channels;
  z.in_row = f.width * f.channels;
  z.in_pixel = f.channels;
  return z;
}

std::size_t packed_bytes(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.k * s.r * s.s * s.c) * sizeof(bf16);
}
std::size_t packed_f32_bytes(const Conv2dShape& s) {
  return 2 * packed_bytes(s);
}
/// Weights stay what they are stored as, codes, or become bf16.
rtfq_dtype packed_type(const Conv2dShape& s) {
  return s.w_type == RTFQ_S8 ? RTFQ_S8 : RTFQ_BF16;
}

std::size_t folded_weights_bytes(const Conv2dShape& s, rtfq_dtype type) {
  const ConvFold f(s, type);
  return static_cast<std::size_t>(s.k * s.r * f.columns * f.channels * element_bytes(type));
}
std::size_t packed_folded_bytes(const Conv2dShape& s) {
  return folded_weights_bytes(s, packed_type(s));
}
std::size_t packed_folded_f32_bytes(const Conv2dShape& s) {
  return folded_weights_bytes(s, RTFQ_F32);
}

void pack_dense(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  const int64_t count = s.k * s.r * s.s * s.c;
  simt::launch(dense, blocks_for(count), dim3(threads), 0, stream_of(stream), narrow(count), narrow(s.c),
               narrow(s.c_parent), static_cast<const float*>(weights), static_cast<bf16*>(packed));
}

namespace {

template <class From, class To>
void launch_folded(const Conv2dShape& s, rtfq_dtype type, const void* weights, void* packed, Stream stream) {
  const ConvFold f(s, type);
  const int64_t count = s.k * s.r * f.columns * f.channels;
  simt::launch(folded<From, To>, blocks_for(count), dim3(threads), 0, stream_of(stream), narrow(count),
               narrow(s.s), narrow(s.c), narrow(s.c_parent), f.columns, f.channels,
               static_cast<const From*>(weights), static_cast<To*>(packed));
}

template <class To>
void launch_turned(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  const auto tiles = [](int64_t count) { return static_cast<unsigned>((count + side - 1) / side); };
  simt::launch(turned<To>, dim3(tiles(s.c), tiles(s.k), static_cast<unsigned>(s.r * s.s)), dim3(side, 8), 0,
               stream_of(stream), dgrad_product(s), narrow(s.k), narrow(s.s), narrow(s.c_parent),
               narrow(s.stride), narrow(s.pad), static_cast<const float*>(weights),
               static_cast<To*>(packed));
}

}  // namespace

void pack_folded(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  if (s.w_type == RTFQ_S8) return launch_folded<int8_t, int8_t>(s, RTFQ_S8, weights, packed, stream);
  launch_folded<float, bf16>(s, RTFQ_BF16, weights, packed, stream);
}
void pack_folded_f32(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  launch_folded<float, float>(s, RTFQ_F32, weights, packed, stream);
}

void pack_turned(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  launch_turned<bf16>(s, weights, packed, stream);
}
void pack_turned_f32(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  launch_turned<float>(s, weights, packed, stream);
}

namespace {

template <class From, class To>
void launch_fold(const Conv2dShape& s, const ConvFold& f, const void* x, void* to, Stream stream) {
  constexpr int few = 8 / static_cast<int>(sizeof(To));
  const int64_t count = s.n * f.height * f.width;
  simt::launch(f.channels == few ? fold<few, From, To> : fold<2 * few, From, To>, blocks_for(count),
               dim3(threads), 0, stream_of(stream), narrow(count), f.height, f.width, narrow(s.h),
               narrow(s.w), narrow(s.c), narrow(s.pad), static_cast<const From*>(x), static_cast<To*>(to));
}

}  // namespace

void fold_image(const Conv2dShape& s, rtfq_dtype type, const void* x, void* to, Stream stream) {
  const ConvFold f(s, type);
  const bool half = type == RTFQ_BF16;
  if (s.x_type == RTFQ_F32) return launch_fold<float, float>(s, f, x, to, stream);
  if (s.x_type == RTFQ_BF16) return launch_fold<bf16, bf16>(s, f, x, to, stream);
  if (s.x_type == RTFQ_U8)
    return half ? launch_fold<uint8_t, bf16>(s, f, x, to, stream)
                : launch_fold<uint8_t, uint8_t>(s, f, x, to, stream);
  half ? launch_fold<int8_t, bf16>(s, f, x, to, stream) : launch_fold<int8_t, int8_t>(s, f, x, to, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
