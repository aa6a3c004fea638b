#include "kernels/cpu/machine.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>

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
double rate(double bytes, const Run& run) {
  const auto before = Clock::now();
  run();
  return bytes / since(before);
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
  const auto cache = static_cast<double>(std::max<int64_t>(last_level_cache(), 32 << 20));
  count_ = std::max<int64_t>(static_cast<int64_t>(4 * cache / 3 / sizeof(float)), 1 << 24) / block * block;
  float value = 0;
  for (auto* array : {&a_, &b_, &c_}) {
    array->reset(
        static_cast<float*>(runtime::allocate_host(static_cast<std::size_t>(count_) * sizeof(float))));
    if (!*array) throw std::bad_alloc();
    // Each thread touches first what it will use.
    float* const to = array->get();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count_; ++i) to[i] = value;
    value += 1;
  }
}

double MemoryProbe::copy() {
  return rate(2 * array_bytes(), [&] {
    blocks(count_, [&](int64_t at) {
      for (int64_t i = at; i < at + block; i += 8)
        _mm256_stream_ps(a_.get() + i, _mm256_load_ps(b_.get() + i));
      _mm_sfence();
    });
  });
}

double MemoryProbe::triad() {
  return rate(3 * array_bytes(), [&] {
    const __m256 s = _mm256_set1_ps(3.0f);
    blocks(count_, [&](int64_t at) {
      for (int64_t i = at; i < at + block; i += 8)
        _mm256_stream_ps(a_.get() + i,
                         _mm256_fmadd_ps(s, _mm256_load_ps(c_.get() + i), _mm256_load_ps(b_.get() + i)));
      _mm_sfence();
    });
  });
}

double MemoryProbe::read() {
  // From four places at once, and ahead of the processor's own prefetchers: else a core waits.
  constexpr int64_t part = block / 4;
  return rate(array_bytes(), [&] {
    blocks(count_, [&](int64_t at) {
      __m256 sum[4] = {};
      for (int64_t i = at; i < at + part; i += 16)
        for (int k = 0; k < 4; ++k) {
          const float* const from = b_.get() + i + k * part;
          prefetch(from);
          sum[k] = _mm256_add_ps(_mm256_add_ps(sum[k], _mm256_load_ps(from)), _mm256_load_ps(from + 8));
        }
      // The sums must be wanted by somebody; ones have a sum that is not negative.
      const __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
      if (_mm256_movemask_ps(all) != 0) a_[static_cast<std::size_t>(at)] = 0;
    });
  });
}

MachinePeaks measure_machine(double seconds, const std::function<void(const char*)>& progress) {
  MachinePeaks peaks;
  const double each = seconds / 6;
  {
    MemoryProbe memory;
    progress("memory: copy");
    peaks.copy = best(each, [&] { return memory.copy(); });
    progress("memory: triad");
    peaks.triad = best(each, [&] { return memory.triad(); });
    progress("memory: read");
    peaks.read = best(each, [&] { return memory.read(); });
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
