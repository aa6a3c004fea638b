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

/// Streaming stores need whole vectors at their natural alignment.
RTFQ_INLINE bool streams(const void* to, int64_t elements) {
  return elements >= streamed_elements && reinterpret_cast<std::uintptr_t>(to) % 32 == 0;
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
