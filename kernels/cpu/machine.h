#pragma once
// What this machine can do at best: the ceilings that kernels are measured against.

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>

namespace rtfq::kernels::cpu {

/// Loops that do nothing but move memory, by how much they read of what they move: memory serves writes
/// faster than reads, or slower, so that what bounds a kernel is the rate of a loop that moves alike.
enum class MemoryMix {
  copy,        ///< a[i] = b[i]
  triad,       ///< a[i] = b[i] + s*c[i]
  schoenauer,  ///< a[i] = b[i] + c[i]*d[i]
  read         ///< sum of one array
};
/// In the order of their shares of reading.
inline constexpr MemoryMix memory_mixes[] = {MemoryMix::copy, MemoryMix::triad, MemoryMix::schoenauer,
                                             MemoryMix::read};
/// Bytes read of all bytes that the loop moves.
constexpr double read_share(MemoryMix mix) {
  constexpr double shares[] = {1.0 / 2, 2.0 / 3, 3.0 / 4, 1};
  return shares[static_cast<int>(mix)];
}

/// Bytes a second of traffic of which `share` is read: between two loops' shares their seconds a byte are
/// interpolated, below the copy's it is the copy's. Asks `rate(MemoryMix)` of those two alone.
template <class Rate>
double rate_of_share(double share, Rate&& rate) {
  MemoryMix below = MemoryMix::copy;
  if (share <= read_share(below)) return rate(below);
  for (const MemoryMix above : memory_mixes) {
    if (share >= read_share(above)) {
      below = above;
      continue;
    }
    if (share == read_share(below)) break;
    const double weight = (share - read_share(below)) / (read_share(above) - read_share(below));
    return 1 / ((1 - weight) / rate(below) + weight / rate(above));
  }
  return rate(below);
}

/// Bytes a second, everything read and written counted once, of arrays far larger than the caches, written
/// past them, with as many threads as OpenMP's maximum.
struct MemoryRates {
  double by_mix[std::size(memory_mixes)] = {};

  double& operator[](MemoryMix mix) { return by_mix[static_cast<int>(mix)]; }
  double operator[](MemoryMix mix) const { return by_mix[static_cast<int>(mix)]; }
  double of_share(double share) const {
    return rate_of_share(share, [&](MemoryMix mix) { return (*this)[mix]; });
  }
};

/// Arithmetic in operations a second, a multiply-add being two, by as many threads.
struct MachinePeaks {
  MemoryRates memory;
  double f32 = 0, bf16 = 0, int8 = 0;  ///< oneDNN's product of square matrices; 0 where it has none
};

/// Rates of memory at this moment, which on a shared machine differ by a factor of two from one minute to the
/// next: each call takes some milliseconds and answers bytes a second, as MemoryRates counts them.
class MemoryProbe {
 public:
  /// Allocates four arrays, of four times the last-level cache together. Throws std::bad_alloc.
  MemoryProbe();
  double rate(MemoryMix);
  double of_share(double share) {
    return rate_of_share(share, [&](MemoryMix mix) { return rate(mix); });
  }

 private:
  struct Free {
    void operator()(float* at) const { std::free(at); }
  };
  double run(MemoryMix, int places);

  int64_t count_ = 0;
  std::unique_ptr<float[], Free> arrays_[4];
  int places_[std::size(memory_mixes)] = {};  ///< that each loop reads at once, the fastest; 0: not known yet
};

/// Takes the best of several tries each, for about `seconds` in all. `progress` is told what is being
/// measured.
MachinePeaks measure_machine(double seconds, const std::function<void(const char*)>& progress);

/// Best operations a second of a matrix product, for measure_machine: f32, bf16, or u8 by s8.
enum class MatrixType { f32, bf16, int8 };
double matrix_peak(MatrixType, double seconds);

}  // namespace rtfq::kernels::cpu
