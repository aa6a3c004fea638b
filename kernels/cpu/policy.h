#pragma once
// When kernels that are bound by memory wake other threads, and when their results bypass the caches.

#include <immintrin.h>

#include <cstdint>

/// For what a kernel does with a vector: a call would pass vectors through memory, several times slower.
#define RTFQ_INLINE [[gnu::always_inline]] inline
/// The same behind a lambda's parameters.
#define RTFQ_INLINE_LAMBDA __attribute__((always_inline))

namespace rtfq::kernels::cpu {

/// Launches of fewer elements stay on the calling thread: waking others costs some microseconds, about what
/// it takes to stream this many floats.
inline constexpr int64_t parallel_elements = 32768;

/// Results at least this large are written past the caches: they would not stay there until they are read,
/// and an ordinary store first reads the line that it overwrites (8-byte copies of 50 MB: 42 GB/s, streamed
/// 63 GB/s).
inline constexpr int64_t streamed_elements = (16 << 20) / 4;

/// Streaming stores need whole vectors at their natural alignment, the widest being a line.
RTFQ_INLINE bool streams(const void* to, int64_t elements) {
  return elements >= streamed_elements && reinterpret_cast<std::uintptr_t>(to) % 64 == 0;
}

/// Where one way with memory is better on Intel's processors and another on AMD's, by measurement.
RTFQ_INLINE bool made_by_intel() {
  return __builtin_cpu_is("intel") != 0;
}

/// Whether what computes while it reads much and writes little goes faster from two places of its arrays: a
/// core waits for memory less (two cores of a Granite Rapids: fused forward 30 and 37 GB/s, normalizing 2048
/// channels in bf16 37 and 42; gradients of norms, which read two arrays for each they write, do not gain).
/// Not measured on AMD's.
RTFQ_INLINE bool reads_two_places() {
  return made_by_intel();
}

/// How far behind what it reads a loop over contiguous memory fetches lines: the processor's own prefetchers
/// stop at the end of a page and keep fewer lines on their way than memory could serve (reading on two cores
/// of a Cascade Lake: 16 GB/s without, 19 with this distance; 8 to 32 lines are alike).
inline constexpr int64_t prefetch_distance = 1024;
RTFQ_INLINE void prefetch(const void* from) {
  _mm_prefetch(static_cast<const char*>(from) + prefetch_distance, _MM_HINT_T0);
}
/// Every line of the run of 32 elements that lies `ahead` elements behind `from`.
template <class T>
RTFQ_INLINE void prefetch_run(const T* from, int64_t ahead = prefetch_distance / sizeof(T)) {
  for (int64_t i = 0; i < 32; i += 64 / static_cast<int64_t>(sizeof(T)))
    _mm_prefetch(reinterpret_cast<const char*>(from + ahead + i), _MM_HINT_T0);
}

/// Stores eight floats.
template <bool stream>
RTFQ_INLINE void store(float* to, __m256 value) {
  if constexpr (stream)
    _mm256_stream_ps(to, value);
  else
    _mm256_storeu_ps(to, value);
}

/// Orders this thread's streamed stores before what other threads do next. Once at the end of each block.
template <bool stream>
RTFQ_INLINE void finish_stores() {
  if constexpr (stream) _mm_sfence();
}

}  // namespace rtfq::kernels::cpu
