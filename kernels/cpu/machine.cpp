#include "kernels/cpu/machine.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "kernels/cpu/caches.h"
#include "kernels/cpu/policy.h"
#include "kernels/runtime/huge_pages.h"

namespace rtfq::kernels::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int64_t block = 8192;

template <class Body>
void blocks(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < count / block; ++b) body(b * block);
}

/// Bytes a second of one run that moves `bytes`.
template <class Run>
double rate_of(double bytes, const Run& run) {
  const auto before = Clock::now();
  run();
  return bytes / since(before);
}

/// Reads `reads` arrays at several places at once, ahead of the processor's own prefetchers, where a core
/// would wait for memory else, and writes one past the caches, or none.
template <int reads, int writes, int places>
void move(int64_t count, float* to, const float* const* from) {
  constexpr int64_t part = block / places;
  const __m256 scale = _mm256_set1_ps(3.0f);
  blocks(count, [&](int64_t first) {
    __m256 sum[2] = {};
    const auto line = [&](int64_t at) RTFQ_INLINE_LAMBDA {
      for (int array = 0; array < reads; ++array) prefetch(from[array] + at);
      for (int half = 0; half < 2; ++half) {
        const int64_t i = at + 8 * half;
        __m256 value = _mm256_load_ps(from[0] + i);
        if constexpr (reads == 2) value = _mm256_fmadd_ps(scale, _mm256_load_ps(from[1] + i), value);
        if constexpr (reads == 3)
          value = _mm256_fmadd_ps(_mm256_load_ps(from[1] + i), _mm256_load_ps(from[2] + i), value);
        if constexpr (writes)
          _mm256_stream_ps(to + i, value);
        else
          sum[half] = _mm256_add_ps(sum[half], value);
      }
    };
    for (int64_t at = first; at < first + part; at += 16)
      for (int place = 0; place < places; ++place) line(at + place * part);
    finish_stores<writes != 0>();
    // Sums must be wanted by somebody; those of ones are not negative.
    if (!writes && _mm256_movemask_ps(_mm256_add_ps(sum[0], sum[1])) != 0) to[first] = 0;
  });
}

/// The best answer of `measure`.
template <class Measure>
double best(double seconds, const Measure& measure) {
  measure();
  double most = 0;
  const auto start = Clock::now();
  for (int tries = 0; tries < 3 || since(start) < seconds; ++tries) most = std::max(most, measure());
  return most;
}

}  // namespace

MemoryProbe::MemoryProbe() {
  // Four times the last-level cache together, at least.
  const auto cache = std::max<int64_t>(last_level_cache(), 32 << 20);
  count_ = std::max<int64_t>(cache / static_cast<int64_t>(sizeof(float)), 1 << 24) / block * block;
  float value = 0;
  for (auto& array : arrays_) {
    array.reset(
        static_cast<float*>(runtime::allocate_host(static_cast<std::size_t>(count_) * sizeof(float))));
    if (!array) throw std::bad_alloc();
    // Each thread touches first what it will use.
    float* const to = array.get();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count_; ++i) to[i] = value;
    value += 1;
  }
}

double MemoryProbe::rate(MemoryMix mix) {
  int& places = places_[static_cast<int>(mix)];
  if (!places) {
    double most = 0;
    for (const int tried : {1, 2, 4})
      if (const double its = std::max(run(mix, tried), run(mix, tried)); its > most)
        most = its, places = tried;
  }
  return run(mix, places);
}

double MemoryProbe::run(MemoryMix mix, int places) {
  float* const to = arrays_[0].get();
  const float* const from[] = {arrays_[1].get(), arrays_[2].get(), arrays_[3].get()};
  const auto with = [&](auto reads, auto writes) {
    const double bytes = static_cast<double>(count_ * (reads() + writes())) * sizeof(float);
    return rate_of(bytes, [&] {
      if (places == 1) return move<reads(), writes(), 1>(count_, to, from);
      if (places == 2) return move<reads(), writes(), 2>(count_, to, from);
      move<reads(), writes(), 4>(count_, to, from);
    });
  };
  using Yes = std::integral_constant<int, 1>;
  switch (mix) {
    case MemoryMix::copy:
      return with(Yes{}, Yes{});
    case MemoryMix::triad:
      return with(std::integral_constant<int, 2>{}, Yes{});
    case MemoryMix::schoenauer:
      return with(std::integral_constant<int, 3>{}, Yes{});
    case MemoryMix::read:
      break;
  }
  return with(Yes{}, std::integral_constant<int, 0>{});
}

MachinePeaks measure_machine(double seconds, const std::function<void(const char*)>& progress) {
  MachinePeaks peaks;
  const double each = seconds / 7;
  {
    MemoryProbe memory;
    for (const MemoryMix mix : memory_mixes) {
      constexpr const char* names[] = {"memory: copy", "memory: triad", "memory: Schoenauer triad",
                                       "memory: read"};
      progress(names[static_cast<int>(mix)]);
      peaks.memory[mix] = best(each, [&] { return memory.rate(mix); });
    }
  }
  progress("arithmetic: f32");
  peaks.f32 = matrix_peak(MatrixType::f32, each);
  progress("arithmetic: bf16");
  peaks.bf16 = matrix_peak(MatrixType::bf16, each);
  progress("arithmetic: int8");
  peaks.int8 = matrix_peak(MatrixType::int8, each);
  return peaks;
}

}  // namespace rtfq::kernels::cpu
