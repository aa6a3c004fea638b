#pragma once
// How the naive kernels of norms find their way: one thread an element, or one thread a channel of a segment.

#include "kernels/batchnorm.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {

constexpr int naive_threads = 128;

inline dim3 naive_blocks(int64_t n) {
  return dim3(static_cast<unsigned>((n + naive_threads - 1) / naive_threads));
}

__device__ __forceinline__ int64_t naive_thread() {
  return static_cast<int64_t>(blockIdx.x) * naive_threads + threadIdx.x;
}

/// An element's channel and its place in [segments][c].
struct NaivePlace {
  int segment;
  int64_t channel, at;

  __device__ NaivePlace(const BatchNormShape& s, int64_t element) : segment(0), channel(element % s.c) {
    const int64_t row = element / s.c;
    while (row >= s.segment_end[segment] * s.hw) ++segment;
    at = segment * s.c + channel;
  }
};

/// The elements of a thread's channel in a segment: `first`, `first + step`, ... below `end`.
struct NaiveChannel {
  int segment;
  int64_t channel, at, first, end, step;

  __device__ NaiveChannel(const BatchNormShape& s, int64_t number)
      : segment(static_cast<int>(number / s.c)), channel(number % s.c), at(number), step(s.c) {
    first = (segment ? s.segment_end[segment - 1] : 0) * s.hw * s.c + channel;
    end = s.segment_end[segment] * s.hw * s.c;
  }
  __device__ int64_t count() const { return (end - first + step - 1) / step; }
};

template <class T>
__device__ __forceinline__ float value_at(const T* p, int64_t i) {
  return load<1>(p + i).v[0];
}
template <class T>
__device__ __forceinline__ void put_at(T* p, int64_t i, float value) {
  store<1>(p + i, Floats<1>{{value}});
}

}  // namespace rtfq::kernels::RTFQ_GPU
