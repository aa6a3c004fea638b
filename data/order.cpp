#include "data/order.h"

#include "engine/random.h"

namespace rtfq::data {

uint32_t EpochOrder::at(uint64_t position) {
  const uint64_t epoch = position / count_;
  const size_t place = static_cast<size_t>(position % count_);
  for (const auto& [number, permutation] : epochs_)
    if (number == epoch) return permutation[place];
  if (epochs_.size() == 2) epochs_.pop_front();
  epochs_.emplace_back(epoch, Random(seed_, Purpose::order, epoch, stream_).permutation(count_));
  return epochs_.back().second[place];
}

}  // namespace rtfq::data
