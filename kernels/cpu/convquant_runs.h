#pragma once
// How many steps of the fused convolution in AVX2 may be added up in 16 bits (convquant_avx2.cpp): chosen
// when weights are packed, since it depends on them.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/cpu/convquant_plan.h"

namespace rtfq::kernels::cpu {

/// Steps of a run that is too long for 16 bits, with four bits of the codes at a time: 8 * 2 * 15 * 128 fits.
inline constexpr int64_t split_steps = 8;

/// Behind the packed weights: for every vector of 16 output channels the steps of its runs, and for each run
/// of each tap a byte, not 0 where 16 bits do not hold it.
template <class Byte>
class RunTable {
 public:
  template <class Plan>
  RunTable(const Plan& plan, Byte* packed)
      : steps_(packed + plan.weight_bytes() + plan.start_bytes()),
        flags_(steps_ + plan.vectors * 4),
        vector_flags_(plan.taps * plan.steps) {}

  template <class Plan>
  static int64_t bytes(const Plan& plan) {
    return plan.vectors * (4 + plan.taps * plan.steps);
  }

  int64_t run_steps(int64_t vector) const {
    int32_t steps;
    std::memcpy(&steps, steps_ + vector * 4, 4);
    return steps;
  }
  void set_run_steps(int64_t vector, int64_t steps) {
    const auto value = static_cast<int32_t>(steps);
    std::memcpy(steps_ + vector * 4, &value, 4);
  }
  /// [tap][run]
  auto* long_runs(int64_t vector) const {
    using Flag = std::conditional_t<std::is_const_v<Byte>, const uint8_t, uint8_t>;
    return reinterpret_cast<Flag*>(flags_ + vector * vector_flags_);
  }

 private:
  Byte *steps_, *flags_;
  int64_t vector_flags_;
};

/// Of each step and 16-bit lane (two input channels of one output channel): the sums of its positive and of
/// its negative weights.
struct LaneSums {
  static constexpr int64_t lanes_of_step = 2 * lanes;
  std::vector<int16_t> above, below;

  LaneSums(const int8_t* weights, int64_t steps)
      : above(static_cast<std::size_t>(steps * lanes_of_step)), below(above.size()) {
    for (std::size_t i = 0; i < above.size(); ++i) {
      const int a = weights[2 * i], b = weights[2 * i + 1];
      above[i] = static_cast<int16_t>(std::max(a, 0) + std::max(b, 0));
      below[i] = static_cast<int16_t>(std::min(a, 0) + std::min(b, 0));
    }
  }

  /// Whether no codes in [0, x_qp] take any lane out of 16 bits, in whatever order they are added up.
  bool fit(int64_t first, int64_t count, int32_t x_qp) const {
    int32_t up[lanes_of_step] = {}, down[lanes_of_step] = {};
    for (int64_t i = first * lanes_of_step; i < (first + count) * lanes_of_step; i += lanes_of_step)
      for (int64_t lane = 0; lane < lanes_of_step; ++lane) {
        up[lane] += above[static_cast<std::size_t>(i + lane)];
        down[lane] += below[static_cast<std::size_t>(i + lane)];
      }
    return *std::max_element(up, up + lanes_of_step) * x_qp <= INT16_MAX &&
           *std::min_element(down, down + lanes_of_step) * x_qp >= INT16_MIN;
  }
};

/// One way to cut the taps into runs: their length, which of them are long, and the cycles of a tile.
struct RunLength {
  int64_t steps = 0, cost = 0;
  std::vector<uint8_t> is_long;

  template <class Plan>
  RunLength(const Plan& plan, const LaneSums& sums, int32_t x_qp, int64_t length) : steps(length) {
    // Of a step's products, of a step of half the bits, and of a run's end.
    constexpr int64_t step_cost = 8, split_cost = 14, end_cost = 14;
    for (int64_t tap = 0; tap < plan.taps; ++tap)
      for (int64_t begin = 0; begin < plan.steps; begin += steps) {
        const int64_t count = std::min(steps, plan.steps - begin);
        const bool fit = sums.fit(tap * plan.steps + begin, count, x_qp);
        cost += fit ? count * step_cost + end_cost
                    : 2 * (count * split_cost + (count + split_steps - 1) / split_steps * end_cost);
        is_long.push_back(fit ? 0 : 1);
      }
  }
};

/// Sets the table's entries of 16 output channels: the length of runs that costs least. Lengths that are far
/// from it are not looked at, since weights are packed anew in every step of training.
template <class Plan>
void choose_runs(const Plan& plan, const int8_t* packed, int64_t vector, int32_t x_qp,
                 RunTable<int8_t>& table) {
  static constexpr int64_t lengths[] = {1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256, 512, 1024};
  constexpr int count = std::size(lengths), middle = 4;
  const LaneSums sums(packed + plan.place(vector * lanes, 0, 0, 0), plan.taps * plan.steps);
  RunLength best(plan, sums, x_qp, lengths[middle]);
  const auto look = [&](int from, int to, int direction) {
    for (int i = from; i != to; i += direction) {
      RunLength other(plan, sums, x_qp, lengths[i]);
      if (other.cost > best.cost) return;
      best = std::move(other);
      if (best.steps >= plan.steps) return;
    }
  };
  if (best.steps < plan.steps) look(middle + 1, count, 1);
  if (best.steps == lengths[middle]) look(middle - 1, -1, -1);
  table.set_run_steps(vector, best.steps);
  std::copy(best.is_long.begin(), best.is_long.end(), table.long_runs(vector));
}

}  // namespace rtfq::kernels::cpu
