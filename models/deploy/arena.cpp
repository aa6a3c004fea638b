#include "models/deploy/arena.h"

#include <algorithm>
#include <numeric>

namespace rtfq::deploy {

Arena::Buffer Arena::add(int64_t bytes) {
  buffers_.push_back({(bytes + 63) / 64 * 64, operations_, operations_});
  return buffers_.size() - 1;
}

Arena::Buffer Arena::add_kept(int64_t bytes) {
  const Buffer buffer = add(bytes);
  buffers_[buffer].first = 0;
  return buffer;
}

void Arena::operation(std::initializer_list<Buffer> reads) {
  for (const Buffer buffer : reads) buffers_[buffer].last = operations_;
  ++operations_;
}

// The largest first, each at the lowest place where nothing that is alive with it lies.
int64_t Arena::place() {
  std::vector<std::size_t> order(buffers_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers_[a].bytes > buffers_[b].bytes; });
  int64_t end = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Life& buffer = buffers_[order[i]];
    std::vector<const Life*> neighbours;
    for (std::size_t j = 0; j < i; ++j) {
      const Life& other = buffers_[order[j]];
      if (other.first <= buffer.last && buffer.first <= other.last) neighbours.push_back(&other);
    }
    std::sort(neighbours.begin(), neighbours.end(),
              [](const Life* a, const Life* b) { return a->offset < b->offset; });
    buffer.offset = 0;
    for (const Life* other : neighbours) {
      if (buffer.offset + buffer.bytes <= other->offset) break;
      buffer.offset = std::max(buffer.offset, other->offset + other->bytes);
    }
    end = std::max(end, buffer.offset + buffer.bytes);
  }
  return end;
}

}  // namespace rtfq::deploy
