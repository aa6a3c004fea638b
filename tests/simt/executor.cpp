// The executor itself: it runs right kernels right under every schedule, and each kind of fault shows.
#include "kernels/simt/executor.h"

#include <catch2/catch.hpp>
#include <functional>
#include <numeric>
#include <set>

#include "tests/simt/faults.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Contains;

namespace {

/// Runs a kernel of one block whose every thread i must leave want(i) in out[i].
template <class... P, class... A>
std::function<void()> one_block(void (*kernel)(float*, P...), unsigned threads,
                                const std::function<float(int)>& want, std::size_t shared, A... arguments) {
  return [=] {
    std::vector<float> out(threads, 0.0f);
    simt::launch(kernel, dim3(1), dim3(threads), shared, nullptr, out.data(), arguments...);
    for (int i = 0; want && i < static_cast<int>(threads); ++i)
      if (!(out[static_cast<std::size_t>(i)] == want(i))) throw std::runtime_error("wrong result");
  };
}
template <class... P, class... A>
std::function<void()> one_block(void (*kernel)(float*, P...), unsigned threads, float want, A... arguments) {
  return one_block(
      kernel, threads, [want](int) { return want; }, 0, arguments...);
}
template <class... P, class... A>
std::function<void()> faulty(void (*kernel)(float*, P...), unsigned threads, A... arguments) {
  return one_block(kernel, threads, std::function<float(int)>{}, 0, arguments...);
}

std::string message_of(const std::function<void()>& body) {
  return simt::check(body, 20).message;
}

}  // namespace

TEST_CASE("executor: right kernels are right under every schedule and order") {
  const simt::ScopedOptions scope;
  const auto swap = [](int i) { return static_cast<float>(i ^ 1); };
  for (const auto order : {simt::Order::mixed, simt::Order::forward, simt::Order::reverse,
                           simt::Order::uniform, simt::Order::warps, simt::Order::threads}) {
    simt::options().order = order;
    INFO("order " << static_cast<int>(order));
    for (const auto& body :
         {one_block(two_sums<0>, 256, 256 + 512000.0f), one_block(two_sums<0>, 1024, 1024 * 2001.0f),
          one_block(exchange<true>, 96, swap, 0)}) {
      const simt::Report report = simt::check(body, 25);
      INFO(report.message);
      CHECK(report.ok);
      CHECK(report.schedules == 25);
    }
  }
}

TEST_CASE("executor: missing barriers and races show") {
  const auto swap = [](int i) { return static_cast<float>(i ^ 1); };
  CHECK(message_of(one_block(two_sums<1>, 256, 256 + 512000.0f)) == "wrong result");
  CHECK(message_of(one_block(two_sums<2>, 256, 256 + 512000.0f)) == "wrong result");
  CHECK(message_of(one_block(exchange<false>, 96, swap, 0)) == "wrong result");
  CHECK(message_of(one_block(
            race_once, 128, [](int i) { return i == 80 ? 5.0f : 0.0f; }, 0)) == "wrong result");
  const simt::Report report = simt::check(one_block(two_sums<2>, 256, 256 + 512000.0f), 20, 7);
  const simt::ScopedOptions scope;
  simt::options().seed = report.seed;
  CHECK_THROWS_WITH(one_block(two_sums<2>, 256, 256 + 512000.0f)(), "wrong result");
}

TEST_CASE("executor: barriers and warp operations that cannot meet are named with their place") {
  CHECK_THAT(message_of(faulty(divergent_barrier, 64)),
             Contains("divergent __syncthreads") && Contains("faults.h:") && Contains("block (0,0,0) seed"));
  CHECK_THAT(message_of(faulty(barrier_of_some, 64)),
             Contains("deadlock: 64 of 64") && Contains("32 (the first is thread 0) in __syncthreads") &&
                 Contains("in __syncwarp"));
  CHECK_THAT(message_of(faulty(shuffle_after_return, 32)),
             Contains("which is not in the mask or has returned"));
  CHECK_THAT(message_of(faulty(lane_not_in_mask, 32)), Contains("is not in its mask 0x0000ffff"));
  CHECK_THAT(message_of(faulty(different_operations, 32)), Contains("warp operations disagree"));
  CHECK(message_of(one_block(two_sums<0>, 256, 256 + 512000.0f)).empty());  // usable after a failure
}

TEST_CASE("executor: shared memory starts as NaN and its ends are guarded") {
  CHECK(message_of(one_block(unwritten_shared, 64, 1.0f)) == "wrong result");
#ifndef __SANITIZE_ADDRESS__  // which ends the process at the access
  CHECK(message_of(one_block(write_shared_at, 64, 2.0f, 99)).empty());
  CHECK_THAT(message_of(faulty(write_shared_at, 64, 100)), Contains("outside middle (400 bytes), behind"));
  CHECK_THAT(message_of(faulty(write_shared_at, 64, 131)), Contains("outside middle"));
  CHECK_THAT(message_of(faulty(write_shared_at, 64, -1)), Contains("outside middle (400 bytes), before"));
  const auto dynamic = [](int index) {
    return one_block(write_dynamic_at, 64, std::function<float(int)>{}, 64 * 4, index);
  };
  CHECK(message_of(dynamic(0)).empty());
  CHECK_THAT(message_of(dynamic(64)), Contains("dynamic shared memory (256 bytes), behind"));
  CHECK_THAT(message_of(dynamic(-1)), Contains("dynamic shared memory (256 bytes), before"));
#endif
  CHECK_THAT(message_of(faulty(too_much_shared, 32)),
             Contains("with more the block has 52000 bytes of variables"));
}

TEST_CASE("executor: divergence that CUDA allows works") {
  const auto body = [] {
    std::vector<float> out(128);
    simt::launch(legal_divergence, dim3(2), dim3(96), 0, nullptr, out.data());
    std::vector<float> v(32);
    for (int lane = 0; lane < 32; ++lane)
      v[static_cast<std::size_t>(lane)] = lane < 8    ? 28.0f
                                          : lane == 8 ? 256.0f
                                          : lane < 20 ? lane + 248.0f
                                                      : 6.0f;
    for (std::size_t i = 0; i < 128; ++i)
      if (out[i] != v[i % 32] + 32 + v[i % 32 == 31 ? 31 : i % 32 + 1])
        throw std::runtime_error("wrong result");
  };
  const simt::Report report = simt::check(body, 50);
  INFO(report.message);
  CHECK(report.ok);
}

TEST_CASE("executor: asynchronous copies need their wait and their barrier") {
  std::vector<float> in(512);
  std::iota(in.begin(), in.end(), 0.0f);
  const auto with = [&](void (*kernel)(const float*, float*)) {
    return [&in, kernel] {
      // cp.async of 16 bytes wants aligned memory.
      alignas(16) static float source[512], out[256];
      std::copy(in.begin(), in.end(), source);
      simt::launch(kernel, dim3(1), dim3(64), 0, nullptr, static_cast<const float*>(source), out);
      for (std::size_t i = 0; i < 256; ++i)
        if (!(out[i] == in[255 - i] + in[511 - i])) throw std::runtime_error("wrong result");
    };
  };
  for (const auto when : {simt::Async::early, simt::Async::late, simt::Async::mixed}) {
    const simt::ScopedOptions scope;
    simt::options().async = when;
    CHECK(message_of(with(through_shared<0>)).empty());
    CHECK(message_of(with(through_shared<3>)) == "wrong result");
    // A copy that lands at once hides the missing wait.
    CHECK(message_of(with(through_shared<1>)).empty() == (when == simt::Async::early));
    CHECK(message_of(with(through_shared<2>)).empty() == (when == simt::Async::early));
  }
  CHECK_THAT(message_of([&in] {
               simt::launch(misaligned_copy, dim3(1), dim3(1), 0, nullptr,
                            static_cast<const float*>(in.data()));
             }),
             Contains("cp.async: an address is not a multiple of 16"));
}

TEST_CASE("executor: a seed repeats a run, other seeds differ") {
  const simt::ScopedOptions scope;
  const auto run = [](uint64_t seed) {
    simt::options().seed = seed;
    unsigned counter = 0;
    std::vector<unsigned> number(4 * 96);
    simt::launch(take_numbers, dim3(4), dim3(96), 0, nullptr, &counter, number.data());
    CHECK(std::set<unsigned>(number.begin(), number.end()).size() == number.size());
    return number;
  };
  std::set<std::vector<unsigned>> different;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const auto once = run(seed);
    CHECK(once == run(seed));
    different.insert(once);
  }
  CHECK(different.size() >= 9);
}

TEST_CASE("executor: atomics count, also over several operating-system threads") {
  const simt::ScopedOptions scope;
  for (const int os_threads : {1, 3}) {
    simt::options().os_threads = os_threads;
    float sum = 0;
    unsigned most = 0;
    const auto before = simt::statistics();
    simt::launch(count_atomically, dim3(5, 2), dim3(40), 0, nullptr, &sum, &most);
    CHECK(sum == 400.0f);
    CHECK(most == 4039);
    CHECK(simt::statistics().blocks - before.blocks == 10);
    CHECK(simt::statistics().threads - before.threads == 400);
  }
}

TEST_CASE("executor: launches that a GPU refuses are refused") {
  float x = 0;
  const auto launch = [&](dim3 grid, dim3 block, std::size_t shared) {
    simt::launch(double_it, grid, block, shared, nullptr, &x, 1);
  };
  CHECK_THROWS_WITH(launch(dim3(1), dim3(1025), 0), Contains("(1025,1,1)"));
  CHECK_THROWS_WITH(launch(dim3(1), dim3(1, 1, 65), 0), Contains("(1,1,65)"));
  CHECK_THROWS_WITH(launch(dim3(0), dim3(32), 0), Contains("(0,1,1)"));
  CHECK_THROWS_WITH(launch(dim3(1, 65536), dim3(32), 0), Contains("(1,65536,1)"));
  CHECK_THROWS_WITH(launch(dim3(1), dim3(32), 233000), Contains("233000"));
  CHECK_THROWS_AS(__syncthreads(), simt::Error);
}
