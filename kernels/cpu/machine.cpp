#include "kernels/cpu/machine.h"

#include <immintrin.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace rtfq::kernels::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Array = std::unique_ptr<float[], Free>;

/// Each thread touches first what it will use.
Array make(int64_t count, float value) {
  Array a(static_cast<float*>(std::aligned_alloc(4096, static_cast<std::size_t>(count) * sizeof(float))));
  if (!a) throw std::bad_alloc();
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) a[static_cast<std::size_t>(i)] = value;
  return a;
}

constexpr int64_t block = 8192;

template <class Body>
void blocks(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < count / block; ++b) body(b * block);
}

/// Best rate of `run`, which moves `bytes`.
template <class Run>
double best(double bytes, double seconds, const Run& run) {
  run();
  double least = 1e9;
  const auto start = Clock::now();
  for (int tries = 0; tries < 3 || since(start) < seconds; ++tries) {
    const auto before = Clock::now();
    run();
    least = std::min(least, since(before));
  }
  return bytes / least;
}

}  // namespace

MachinePeaks measure_machine(double seconds, const std::function<void(const char*)>& progress) {
  MachinePeaks peaks;
  const double each = seconds / 6;
  const double cache = static_cast<double>(std::max(::sysconf(_SC_LEVEL3_CACHE_SIZE), 8L << 20));
  {
    // Three arrays of four times the last-level cache together, at least.
    const int64_t count = std::max<int64_t>(static_cast<int64_t>(4 * cache / 3 / sizeof(float)), 1 << 24) / block * block;
    const double array = static_cast<double>(count) * sizeof(float);
    const Array a = make(count, 0), b = make(count, 1), c = make(count, 2);
    progress("memory: copy");
    peaks.copy = best(2 * array, each, [&] {
      blocks(count, [&](int64_t at) {
        for (int64_t i = at; i < at + block; i += 8) _mm256_stream_ps(a.get() + i, _mm256_load_ps(b.get() + i));
        _mm_sfence();
      });
    });
    progress("memory: triad");
    peaks.triad = best(3 * array, each, [&] {
      const __m256 s = _mm256_set1_ps(3.0f);
      blocks(count, [&](int64_t at) {
        for (int64_t i = at; i < at + block; i += 8)
          _mm256_stream_ps(a.get() + i, _mm256_fmadd_ps(s, _mm256_load_ps(c.get() + i), _mm256_load_ps(b.get() + i)));
        _mm_sfence();
      });
    });
    progress("memory: read");
    peaks.read = best(array, each, [&] {
      blocks(count, [&](int64_t at) {
        __m256 sum[4] = {};
        for (int64_t i = at; i < at + block; i += 32)
          for (int k = 0; k < 4; ++k) sum[k] = _mm256_add_ps(sum[k], _mm256_load_ps(b.get() + i + 8 * k));
        // The sums must be wanted by somebody; the array's zeros stay zeros.
        const __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
        if (_mm256_testz_ps(all, _mm256_set1_ps(-1.0f)) == 0) a[static_cast<std::size_t>(at)] = 0;
      });
    });
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
