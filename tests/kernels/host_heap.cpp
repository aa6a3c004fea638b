#include "kernels/runtime/host_heap.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

using rtfq::kernels::runtime::HostHeap;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

}  // namespace

TEST_CASE("host heap: what is freed joins its neighbours, and what is asked for is cut from it") {
  HostHeap heap;
  void* all = heap.take(8 * mib);
  REQUIRE(all);
  CHECK(heap.reserved() == 8 * mib);
  CHECK(heap.misses() == 1);
  heap.give(all, 8 * mib);
  std::vector<void*> parts;
  for (const std::size_t size : {1, 3, 2, 2}) {
    parts.push_back(heap.take(size * mib));
    std::memset(parts.back(), 1, size * mib);
  }
  CHECK(heap.misses() == 1);
  // The order of freeing does not matter: the middle ones last.
  heap.give(parts[0], 1 * mib);
  heap.give(parts[3], 2 * mib);
  heap.give(parts[1], 3 * mib);
  heap.give(parts[2], 2 * mib);
  CHECK(heap.take(8 * mib) == all);
  CHECK(heap.misses() == 1);
  heap.give(all, 8 * mib);
}

TEST_CASE("host heap: the smallest piece that fits is taken") {
  HostHeap heap;
  void* whole = heap.take(16 * mib);
  heap.give(whole, 16 * mib);
  void* large = heap.take(8 * mib);
  void* between = heap.take(mib);
  void* small = heap.take(2 * mib);
  void* rest = heap.take(5 * mib);
  heap.give(large, 8 * mib);
  heap.give(small, 2 * mib);
  CHECK(heap.take(2 * mib - 5000) == small);
  CHECK(heap.take(8 * mib) == large);
  CHECK(heap.misses() == 1);
  heap.give(small, 2 * mib - 5000);
  heap.give(large, 8 * mib);
  heap.give(between, mib);
  heap.give(rest, 5 * mib);
}

TEST_CASE("host heap: free pieces go back to the system, taken ones stay") {
  HostHeap heap;
  void* a = heap.take(4 * mib);
  auto* b = static_cast<char*>(heap.take(3 * mib + 1));
  std::memset(b, 7, 3 * mib + 1);
  heap.give(a, 4 * mib);
  heap.trim();
  CHECK(heap.reserved() == 3 * mib + HostHeap::granule);
  CHECK(b[3 * mib] == 7);
  heap.give(b, 3 * mib + 1);
  heap.trim();
  CHECK(heap.reserved() == 0);
  CHECK(heap.take(SIZE_MAX - 100) == nullptr);
  CHECK(heap.take(std::size_t{1} << 60) == nullptr);
  CHECK(heap.reserved() == 0);
}

TEST_CASE("host heap: blocks never overlap, whatever comes and goes") {
  HostHeap heap;
  std::mt19937 random(1);
  struct Block {
    unsigned char* at;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<Block> live;
  for (int i = 0; i < 3000; ++i) {
    if (live.size() < 30 && (live.empty() || random() % 2)) {
      const std::size_t bytes = 1 + random() % (64 * HostHeap::granule);
      const auto mark = static_cast<unsigned char>(random());
      live.push_back({static_cast<unsigned char*>(heap.take(bytes)), bytes, mark});
      REQUIRE(live.back().at);
      std::memset(live.back().at, mark, bytes);
    } else {
      const std::size_t which = random() % live.size();
      const Block block = live[which];
      REQUIRE(block.at[0] == block.mark);
      REQUIRE(block.at[block.bytes / 2] == block.mark);
      REQUIRE(block.at[block.bytes - 1] == block.mark);
      heap.give(block.at, block.bytes);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
    }
    if (i % 500 == 499) heap.trim();
  }
  for (const Block& block : live) heap.give(block.at, block.bytes);
}
