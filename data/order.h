#pragma once
// Which sample stands where in the endless training order.

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace rtfq::data {

/// Position p of the order is sample permutation(p / count)[p % count]. Keeps the two epochs used last.
class EpochOrder {
 public:
  EpochOrder(uint64_t seed, uint32_t stream, uint32_t count) : seed_(seed), stream_(stream), count_(count) {}
  uint32_t at(uint64_t position);

 private:
  uint64_t seed_;
  uint32_t stream_, count_;
  std::deque<std::pair<uint64_t, std::vector<uint32_t>>> epochs_;
};

}  // namespace rtfq::data
