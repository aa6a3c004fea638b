#include "engine/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace rtfq {

uint32_t Random::integer() {
  if (left_ == 0) {
    block_ = kernels::philox4x32(key_, counter_++ | purpose_, high_);
    left_ = 4;
  }
  return block_[static_cast<size_t>(4 - left_--)];
}

uint32_t Random::below(uint32_t bound) {
  if (bound == 0) throw std::invalid_argument("[random] below(0): expected a positive bound");
  const uint32_t limit = UINT32_MAX - UINT32_MAX % bound;
  for (;;) {
    const uint32_t value = integer();
    if (value < limit) return value % bound;
  }
}

float Random::normal() {
  const float radius = std::sqrt(-2.0f * std::log(1.0f - uniform()));
  return radius * std::cos(2.0f * std::numbers::pi_v<float> * uniform());
}

std::vector<uint32_t> Random::permutation(uint32_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

}  // namespace rtfq
