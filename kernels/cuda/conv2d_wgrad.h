#pragma once
// The weight gradient as a product of output channels by taps and their input channels, summed over the
// pixels of the batch: how the pixels are cut among blocks, where their sums go, and the launch that adds
// them.

#include "kernels/cuda/conv2d_geometry.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Where the product's operands lie, and how the pixels are cut.
struct Wgrad {
  ConvProduct z;  ///< the forward pass whose weights these are
  int columns;    ///< taps times their channels
  int pixels, steps_per_piece, pieces;
  int images_on, rows_on, places_on;  ///< a step's pixels further
  bool direct;                        ///< one piece is all: its sums go to the weights at once
  std::size_t partial_bytes() const {
    return direct ? 0
                  : static_cast<std::size_t>(z.columns) * static_cast<std::size_t>(columns) *
                        static_cast<std::size_t>(pieces) * sizeof(float);
  }
};

/// What a kernel does in a step: a tile of the product over `step` pixels, at `rate` products a microsecond
/// of a multiprocessor that holds `per_sm` blocks, staging `bytes` bytes.
struct WgradTile {
  int rows, columns, step, per_sm, bytes;
  double rate;
  int64_t tiles(const ConvProduct&) const;
};

/// Pieces of the pixels, and the microseconds that this is estimated to take: as many as fill the
/// multiprocessors, where that is worth writing and reading their sums; those are [columns of z][columns] a
/// piece. Depends on the shape alone. `folded` sums are never direct.
struct WgradCut {
  int pieces;
  double cost;
};
WgradCut best_cut(const ConvProduct& z, const WgradTile&, bool folded);
Wgrad cut_pixels(const ConvProduct& z, const WgradTile&, bool folded);
int wgrad_columns(const ConvProduct& z);

/// Where sums go: to the workspace, a piece of [rows][columns] each, or (direct) to the parent's slice.
struct WgradTo {
  float* partial;
  float* dw;
  const float* scale;
  bool accumulate;
  bool pairs, quads;     ///< weights lie such that two, four are stored at once
  int c_parent, filter;  ///< elements
};
WgradTo wgrad_to(const Conv2dShape&, const Conv2dWgradArgs&, float* partial);

/// A column of the product, as the thread that writes its sums knows it.
struct WgradColumn {
  float* to;
  int64_t pitch;

  __device__ __forceinline__ WgradColumn(const Wgrad& w, const WgradTo& t, int piece, int column) {
    if (w.direct) {
      const int tap = column / w.z.channels;
      to = t.dw + static_cast<int64_t>(tap) * t.c_parent + (column - tap * w.z.channels);
      pitch = t.filter;
    } else {
      to = t.partial + static_cast<int64_t>(piece) * w.z.columns * w.columns + column;
      pitch = w.columns;
    }
  }
  /// The sum in row k; `scale` has been read by the caller and is 1 where sums are pieces.
  __device__ __forceinline__ void put(const Wgrad& w, const WgradTo& t, int k, float sum, float scale) const {
    float* own = to + k * pitch;
    const float scaled = scale * sum;
    *own = w.direct && t.accumulate ? *own + scaled : scaled;
  }
  /// Of this column and the next, an even one and an odd one of the same tap.
  __device__ __forceinline__ void put(const Wgrad& w, const WgradTo& t, int k, float first, float second,
                                      float scale) const {
    if (w.direct && !t.pairs) {
      put(w, t, k, first, scale);
      WgradColumn next = *this;
      ++next.to;
      next.put(w, t, k, second, scale);
      return;
    }
    float2* own = reinterpret_cast<float2*>(to + k * pitch);
    float2 result = make_float2(scale * first, scale * second);
    if (w.direct && t.accumulate) {
      const float2 old = *own;
      result = make_float2(old.x + result.x, old.y + result.y);
    }
    *own = result;
  }
};
__device__ __forceinline__ float wgrad_scale(const Wgrad& w, const WgradTo& t) {
  return w.direct && t.scale ? *t.scale : 1.0f;
}

/// A pixel of the output, as the thread that stages its row knows it.
struct Pixel {
  int image, p, q;

  __device__ __forceinline__ void start(const Wgrad& w, int at) {
    const ConvPart& part = w.z.part[0];
    const int line = at / part.width;
    image = line / part.height;
    p = line - image * part.height;
    q = at - line * part.width;
  }
  /// A step further.
  __device__ __forceinline__ void advance(const Wgrad& w) {
    const ConvPart& part = w.z.part[0];
    q += w.places_on;
    if (q >= part.width) {
      q -= part.width;
      ++p;
    }
    p += w.rows_on;
    if (p >= part.height) {
      p -= part.height;
      ++image;
    }
    image += w.images_on;
  }
};

/// Tap and channel of a column of the product; r is -1 beyond the last one.
__device__ __forceinline__ ConvTap column_tap(const Wgrad& w, int column) {
  const int taps = column / w.z.channels, row = taps / w.z.part[0].taps_w;
  return {column < w.columns ? row : -1, taps - row * w.z.part[0].taps_w, column - taps * w.z.channels};
}

/// dw (+)= scale * (the pieces' sums), into the parent's slice; `fold`: the image that x was folded into, or
/// null. Not where the sums are direct.
void add_pieces(const Conv2dShape&, const Wgrad&, const ConvFold* fold, const WgradTo&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
