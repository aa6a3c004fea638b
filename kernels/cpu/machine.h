#pragma once
// What this machine can do at best: the ceilings that kernels are measured against.

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>

namespace rtfq::kernels::cpu {

/// All with as many threads as OpenMP's maximum. Bandwidths in bytes a second, everything read and written
/// counted once, of arrays far larger than the caches, written past them; arithmetic in operations a second,
/// a multiply-add being two.
struct MachinePeaks {
  double read = 0;                     ///< sum of one array
  double copy = 0;                     ///< a[i] = b[i]
  double triad = 0;                    ///< a[i] = b[i] + s*c[i]
  double f32 = 0, bf16 = 0, int8 = 0;  ///< oneDNN's product of square matrices; 0 where it has none
};

/// Rates of memory at this moment, which on a shared machine differ by a factor of two from one minute to the
/// next: each call takes some milliseconds and answers bytes a second, as MachinePeaks counts them.
class MemoryProbe {
 public:
  /// Allocates three arrays, of four times the last-level cache together. Throws std::bad_alloc.
  MemoryProbe();
  double copy();
  double triad();
  double read();

 private:
  struct Free {
    void operator()(float* at) const { std::free(at); }
  };
  double array_bytes() const { return static_cast<double>(count_) * sizeof(float); }

  int64_t count_ = 0;
  std::unique_ptr<float[], Free> a_, b_, c_;
};

/// Takes the best of several tries each, for about `seconds` in all. `progress` is told what is being
/// measured.
MachinePeaks measure_machine(double seconds, const std::function<void(const char*)>& progress);

/// Best operations a second of a matrix product, for measure_machine: f32, bf16, or u8 by s8.
enum class MatrixType { f32, bf16, int8 };
double matrix_peak(MatrixType, double seconds);

}  // namespace rtfq::kernels::cpu
