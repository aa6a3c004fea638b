// What a GPU's memory is measured with copies and reads all of it, and nothing else.
#include "kernels/cuda/memory_speed.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "kernels/catalog/catalog.h"
#include "kernels/simt/executor.h"

using namespace rtfq;
using namespace rtfq::kernels;

TEST_CASE("memory speed: every byte is copied once, and reading leaves memory alone") {
  const simt::ScopedOptions scope;
  constexpr auto chunk = static_cast<std::size_t>(gpu_simt::memory_speed_chunk), words = 3 * chunk / 4;
  catalog::Buffer from(3 * chunk), to(3 * chunk), sink(4);
  std::iota(from.as<uint32_t>(), from.as<uint32_t>() + words, 0x01020304u);
  std::memset(to.data(), 0, to.bytes());
  std::memset(sink.data(), 0, sink.bytes());
  gpu_simt::copy_memory(from.data(), to.data(), 3 * gpu_simt::memory_speed_chunk, {});
  CHECK(std::memcmp(from.data(), to.data(), from.bytes()) == 0);

  gpu_simt::read_memory(from.data(), 3 * gpu_simt::memory_speed_chunk, sink.data(), {});
  CHECK(*sink.as<uint32_t>() == 0);
  // That it reads: the one content of a thread that is told of, in the last thread of the last block.
  std::memset(from.data(), 0, from.bytes());
  from.as<uint32_t>()[words - 1] = 0x9E3779B9u;
  gpu_simt::read_memory(from.data(), 3 * gpu_simt::memory_speed_chunk, sink.data(), {});
  CHECK(*sink.as<uint32_t>() == 0x9E3779B9u);

  CHECK_THROWS_AS(gpu_simt::copy_memory(from.data(), to.data(), 100, {}), std::invalid_argument);
  CHECK_THROWS_AS(gpu_simt::copy_memory(from.as<char>() + 4, to.data(), gpu_simt::memory_speed_chunk, {}),
                  std::invalid_argument);
}
