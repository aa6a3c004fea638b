#pragma once
// Launching one implementation by name, with packed weights and workspace of exactly the size it asks for.

#include <omp.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/catalog/catalog.h"
#include "kernels/cpu/features.h"
#include "kernels/operator.h"

namespace rtfq::test {

template <class Op>
const typename Op::Impl& implementation(const std::string& name,
                                        kernels::Backend backend = kernels::Backend::cpu) {
  for (const auto& one : Op::implementations(backend))
    if (name == one.name) return one;
  throw std::logic_error("there is no implementation called " + name);
}

/// Of families that have a version for each kind of vectors: those that this processor can run.
inline std::vector<const char*> runnable_implementations() {
  std::vector<const char*> names{"avx2", "naive"};
  if (kernels::cpu::has_avx512()) names.push_back("avx512");
  return names;
}

/// Packed weights where the implementation wants them, else the weights themselves.
template <class Op>
class Packed {
 public:
  Packed(const typename Op::Impl& impl, const typename Op::Shape& shape, const void* weights)
      : weights_(weights), buffer_(impl.packed(shape)) {
    if (buffer_.bytes()) impl.pack(shape, weights, buffer_.data(), {});
  }
  const void* get() const { return buffer_.bytes() ? buffer_.data() : weights_; }
  bool guards_intact() const { return buffer_.guards_intact(); }

 private:
  const void* weights_;
  kernels::catalog::Buffer buffer_;
};

inline std::vector<float> normal(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  kernels::catalog::fill_normal(values.data(), values.size(), seed);
  return values;
}

inline std::vector<float> exact(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  kernels::catalog::fill_exact(values.data(), values.size(), seed);
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;  // no null pointers
}

/// OpenMP's maximum on this thread, put back at the end of the scope.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// True when `run` (returning a vector) gives the same bits with 1, 2, 3 and 7 threads.
template <class Run>
bool independent_of_threads(const Run& run) {
  const auto with = [&](int count) {
    const Threads threads(count);
    return run();
  };
  const auto one = with(1);
  for (const int count : {2, 3, 7})
    if (!same_bits(one, with(count))) return false;
  return true;
}

}  // namespace rtfq::test
