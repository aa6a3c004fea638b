#include "engine/memory.h"

#include <catch2/catch.hpp>

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

TEST_CASE("memory: the peak is what was in use at once") {
  const auto start = memory::statistics({}).in_use;
  memory::reset_peak({});
  { const auto a = memory::allocate({}, 1 << 20), b = memory::allocate({}, 1 << 20); }
  { const auto c = memory::allocate({}, 1 << 20); }
  CHECK(memory::statistics({}).peak == start + (2 << 20));
}

TEST_CASE("memory: cached blocks go back to the system on request") {
  { const auto a = memory::allocate({}, 1 << 22); }
  CHECK(memory::statistics({}).reserved > memory::statistics({}).in_use);
  memory::release_cached({});
  CHECK(memory::statistics({}).reserved == memory::statistics({}).in_use);
}

TEST_CASE("device: absent backends and wrong names are refused with the choices") {
  CHECK_THROWS_WITH(kernels::parse_device("gpu"),
                    Catch::Contains("expected cpu, cuda, cuda:N or simt, got 'gpu'"));
  CHECK(kernels::parse_device("cuda:1") == Device{Backend::cuda, 1});
  CHECK_THROWS_WITH(Tensor::empty({4}, DType::f32, {Backend::cuda, 0}), Catch::Contains("no cuda backend"));
}
