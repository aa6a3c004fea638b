#include "engine/memory.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "engine/tensor.h"

using namespace rtfq;

TEST_CASE("memory: a freed block is handed out again") {
  memory::release_cached({});
  const auto before = memory::statistics({});
  void* first = nullptr;
  {
    const auto block = memory::allocate({}, 100000);
    first = block.get();
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
    CHECK(memory::statistics({}).in_use >= before.in_use + 100000);
  }
  CHECK(memory::statistics({}).in_use == before.in_use);
  const auto again = memory::allocate({}, 99000);
  CHECK(again.get() == first);
  CHECK(memory::statistics({}).misses == before.misses + 1);
}

TEST_CASE("memory: a smaller pass lives in the blocks of a larger one") {
  memory::release_cached({});
  const auto pass = [](std::size_t unit) {
    std::vector<std::shared_ptr<void>> alive;
    for (const std::size_t size : {8 * unit, 4 * unit, 4 * unit, 2 * unit})
      alive.push_back(memory::allocate({}, size));
  };
  pass(1 << 20);
  const auto first = memory::statistics({});
  pass(1 << 19);
  pass(3 << 18);
  CHECK(memory::statistics({}).reserved <= first.reserved + first.reserved / 16);
  // Blocks much larger than a request stay free for those that need them.
  const auto before = memory::statistics({});
  const auto small = memory::allocate({}, 1 << 15);
  CHECK(memory::statistics({}).misses == before.misses + 1);
  CHECK(memory::statistics({}).in_use == before.in_use + (1 << 15));
}

TEST_CASE("memory: the peak is what was in use at once") {
  const auto start = memory::statistics({}).in_use;
  memory::reset_peak({});
  { const auto a = memory::allocate({}, 1 << 20), b = memory::allocate({}, 1 << 20); }
  { const auto c = memory::allocate({}, 1 << 20); }
  CHECK(memory::statistics({}).peak == start + (2 << 20));
}

TEST_CASE("memory: where there is no more, the message says who holds what") {
  memory::release_cached({});
  const auto held_by = [](const std::string& name) {
    for (const auto& [who, bytes] : memory::holders({}))
      if (name == who) return bytes;
    return std::size_t{0};
  };
  const auto in_use = memory::statistics({}).in_use;
  const memory::HeldBy outer("the outer");
  const auto first = memory::allocate({}, 3 << 20);
  {
    const memory::HeldBy inner("the inner");
    const auto second = memory::allocate({}, 2 << 20);
    auto moved = memory::allocate({}, 1 << 20);
    std::thread([other = std::move(moved)] {
    }).join();  // freed by another thread, it is the inner's all the same
    CHECK(held_by("the inner") == 2 << 20);
    CHECK(held_by("the outer") == 3 << 20);
    CHECK_THROWS_WITH(memory::allocate({}, std::size_t{1} << 50),
                      Catch::Contains("1073741824 MiB asked for by the inner") &&
                          Catch::Contains("the outer 3 MiB, ") && Catch::Contains("the inner 2 MiB") &&
                          Catch::Contains("; lower train.batch"));
  }
  CHECK(held_by("the inner") == 0);
  std::size_t all = 0;
  for (const auto& [who, bytes] : memory::holders({})) all += bytes;
  CHECK(all == memory::statistics({}).in_use);
  CHECK(all == in_use + (3 << 20));
}

TEST_CASE("memory: cached blocks go back to the system on request") {
  { const auto a = memory::allocate({}, 1 << 22); }
  CHECK(memory::statistics({}).reserved > memory::statistics({}).in_use);
  memory::release_cached({});
  CHECK(memory::statistics({}).reserved == memory::statistics({}).in_use);
}

TEST_CASE("memory: an arena keeps its blocks to itself, and leaves them to the pool") {
  memory::release_cached({});
  const auto reserved = memory::statistics({}).reserved;
  const void* block = nullptr;
  {
    memory::Arena arena({});
    {
      const memory::Arena::Scope scope(arena);
      CHECK_THROWS_AS(memory::Arena::Scope(arena), std::logic_error);
      const auto held = memory::allocate({}, 1 << 20);
      block = held.get();
      CHECK(arena.in_use() == 1 << 20);
      std::thread([&] { CHECK(memory::allocate({}, 1 << 20).get() != block); }).join();
      CHECK(arena.in_use() == 1 << 20);
    }
    CHECK(arena.in_use() == 0);
    const auto elsewhere = memory::allocate({}, 1 << 20);
    CHECK(elsewhere.get() != block);
    memory::release_cached({});
    CHECK(memory::statistics({}).reserved == reserved + (2 << 20));  // the arena's and `elsewhere`
    const memory::Arena::Scope scope(arena);
    CHECK(memory::allocate({}, 1 << 20).get() == block);
  }
  CHECK(memory::allocate({}, 1 << 20).get() != nullptr);
  memory::release_cached({});
  CHECK(memory::statistics({}).reserved == reserved);
}

TEST_CASE("memory: what is too much says how much was asked, who holds what, and what to lower") {
  const auto held = memory::allocate({}, 3 << 20);
  CHECK_THROWS_WITH(memory::allocate({}, std::size_t{1} << 50),
                    Catch::Contains("1073741824 MiB asked for, ") &&
                        Catch::Contains("in use (others 3 MiB") && Catch::Contains("are free") &&
                        Catch::Contains("lower train.batch"));
}

TEST_CASE("device: absent backends and wrong names are refused with the choices") {
  CHECK_THROWS_WITH(kernels::parse_device("gpu"),
                    Catch::Contains("expected cpu, cuda, cuda:N or simt, got 'gpu'"));
  CHECK(kernels::parse_device("cuda:1") == Device{Backend::cuda, 1});
  CHECK_THROWS_WITH(Tensor::empty({4}, DType::f32, {Backend::cuda, 0}), Catch::Contains("no cuda backend"));
}
