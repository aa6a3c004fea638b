#pragma once
// What kernels on lanes_avx2.h and lanes_avx512.h share.

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// The sum of all lanes, the first first.
template <class V>
RTFQ_INLINE double total(const typename V::Doubles& lanes) {
  double values[sizeof lanes / sizeof(double)], sum = 0;
  V::store(values, lanes);
  for (const double value : values) sum += value;
  return sum;
}

/// Calls f(0), ..., f(count - 1): a loop whose arrays stay in registers, since their indices are constants
/// from the start.
template <int count, class F>
RTFQ_INLINE void repeat(F&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) RTFQ_INLINE_LAMBDA {
    (f(i), ...);
  }
  (std::make_integer_sequence<int, count>{});
}

/// A run of f(part, first lane) for all parts.
template <class V, class F>
RTFQ_INLINE typename V::Run by_parts(F&& f) {
  typename V::Run run;
  repeat<V::parts>([&](int part) RTFQ_INLINE_LAMBDA { run.part[part] = f(part, part * V::width); });
  return run;
}

/// Calls f(i, n) for each run of 32 of `count` elements, or for so many runs together; n elements of them are
/// there: all but at the end, where fewer may be left. What reads and writes runs takes n; a kernel's body
/// stands there twice, the one for whole runs without a branch. Sanitizers, whose checks make minutes of
/// compiling of it, have it once.
template <int64_t together, class F>
RTFQ_INLINE void for_each_runs_of_32(int64_t count, F&& f) {
  constexpr int64_t whole = 32 * together;
  int64_t i = 0;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  for (; i + whole <= count; i += whole) f(i, whole);
#endif
  for (; i < count; i += whole) f(i, count - i);
}
template <class F>
RTFQ_INLINE void for_each_run_of_32(int64_t count, F&& f) {
  for_each_runs_of_32<1>(count, f);
}

/// The same for what is read once, from far away; `two_places`: from both halves in turn.
template <class F>
RTFQ_INLINE void for_each_run_of_places(int64_t count, bool two_places, F&& f) {
  const int64_t half = two_places ? count / 64 * 32 : 0;
  for (int64_t i = 0; i < half; i += 32) {
    f(i, 32);
    f(half + i, 32);
  }
  for_each_run_of_32(count - 2 * half, [&](int64_t i, int64_t n) RTFQ_INLINE_LAMBDA { f(2 * half + i, n); });
}

/// A run at `from`, of which there are `count` elements or, where that is more, 32; zeros stand for the
/// others.
template <class V, class T>
RTFQ_INLINE typename V::Run read_run(const T* from, int64_t count) {
  if (count >= 32) [[likely]]
    return V::load_run(from);
  alignas(64) T padded[32] = {};
  std::memcpy(padded, from, static_cast<std::size_t>(count) * sizeof(T));
  return V::load_run(padded);
}

/// The same of an operand that is read once, from far away; the run `ahead` elements behind it is fetched.
template <class V, class T>
RTFQ_INLINE typename V::Run stream_run(const T* from, int64_t ahead, int64_t count) {
  prefetch_run(from, ahead);
  return read_run<V>(from, count);
}

/// A run at `from` that is read part by part; zeros stand for elements that are not there. With `used` false
/// there is none.
template <class T, bool used = true>
class RunSource {
 public:
  RTFQ_INLINE RunSource(const T* from, int64_t count) : at_(from) {
    if (count >= 32) [[likely]]
      return;
    std::memset(padded_, 0, sizeof padded_);
    std::memcpy(padded_, from, static_cast<std::size_t>(count) * sizeof(T));
    at_ = padded_;
  }
  RunSource(const RunSource&) = delete;
  RunSource& operator=(const RunSource&) = delete;
  RTFQ_INLINE operator const T*() const { return at_; }

 private:
  const T* at_;
  alignas(64) T padded_[32];
};
template <class T>
class RunSource<T, false> {
 public:
  RTFQ_INLINE RunSource(const T*, int64_t) {}
};

/// An array, or zeros wherever one looks in place of a null one: without a branch, which every run would
/// take.
template <class T>
class ArrayOrZeros {
 public:
  RTFQ_INLINE explicit ArrayOrZeros(const void* array)
      : base_(static_cast<const T*>(array ? array : zeros)), mask_(array ? -1 : 0) {}
  RTFQ_INLINE const T* operator+(int64_t offset) const { return base_ + (offset & mask_); }

 private:
  alignas(64) static constexpr std::byte zeros[32 * sizeof(T)] = {};
  const T* base_;
  int64_t mask_;
};

/// Stores the 32 lower bytes of integers in the order of their type's run; `stream`: past the caches.
RTFQ_INLINE void write_code_bytes(uint8_t* to, __m256i bytes, int64_t count, bool stream) {
  if (count < 32) [[unlikely]]
    std::memcpy(to, &bytes, static_cast<std::size_t>(count));
  else if (stream)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bytes);
  else
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
}
/// The same of integers that are in the order of a run of T.
template <class V, class T>
RTFQ_INLINE void write_codes(uint8_t* to, typename V::Ints a, typename V::Ints b, int64_t count,
                             bool stream) {
  write_code_bytes(to, V::template packed<T>(a, b), count, stream);
}

/// Brings an array of floats, and what is behind it up to a multiple of 32, into the order in which
/// `load_run` gives elements of T.
template <class T>
RTFQ_INLINE void to_runs(float* array, int64_t count) {
  if constexpr (std::is_same_v<T, float>) return;
  for (int64_t i = 0; i < count; i += 32) {
    float run[32];
    for (int j = 0; j < 16; ++j) {
      run[j] = array[i + 2 * j];
      run[16 + j] = array[i + 2 * j + 1];
    }
    std::memcpy(array + i, run, sizeof run);
  }
}

/// The other way.
template <class T>
RTFQ_INLINE void from_runs(float* array, int64_t count) {
  if constexpr (std::is_same_v<T, float>) return;
  for (int64_t i = 0; i < count; i += 32) {
    float run[32];
    for (int j = 0; j < 16; ++j) {
      run[2 * j] = array[i + j];
      run[2 * j + 1] = array[i + 16 + j];
    }
    std::memcpy(array + i, run, sizeof run);
  }
}

/// Stores a run, or the first `count` elements of one that is not whole. `exact`: nothing is to be rounded;
/// `stream`: past the caches.
template <class V, bool exact, class T>
RTFQ_INLINE void write_run(T* to, const typename V::Run& x, int64_t count, bool stream) {
  const auto store = [&]<bool streamed>(T* at) RTFQ_INLINE_LAMBDA {
    if constexpr (exact)
      V::template store_run_exact<streamed>(at, x);
    else
      V::template store_run<streamed>(at, x);
  };
  if (count >= 32) [[likely]]
    return stream ? store.template operator()<true>(to) : store.template operator()<false>(to);
  alignas(64) T padded[32];
  store.template operator()<false>(padded);
  std::memcpy(to, padded, static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace rtfq::kernels::cpu
