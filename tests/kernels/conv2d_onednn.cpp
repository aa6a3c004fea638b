// What our use of oneDNN relies on: fast kernels for every shape of a ResNet, plans that stay valid on other
// threads and under other thread counts, and the same results without AVX-512.
#include "kernels/cpu/conv2d_onednn.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "kernels/cpu/features.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

struct Layer {
  int64_t n, size, c, k, filter, stride, pad;
};

/// "jit:avx2, weights jit:uni"; a kernel of another kind says ref, simple or gemm.
bool is_fast(const std::string& kernel) {
  const auto has = [&](const char* word) { return kernel.find(word) != kernel.npos; };
  return (kernel.rfind("jit", 0) == 0 || kernel.rfind("brg", 0) == 0) && has("weights jit") && !has("ref") &&
         !has("simple") && !has("gemm");
}

bool limited_to_avx2() {
  const char* isa = std::getenv("ONEDNN_MAX_CPU_ISA");
  return isa && isa == std::string("AVX2");
}
/// By that limit, or by the processor.
bool without_avx512() {
  return !cpu::has_avx512();
}

}  // namespace

TEST_CASE("conv2d onednn: every layer of a ResNet gets a jitted kernel") {
  std::vector<Layer> layers;
  for (const int64_t c : {1, 3})
    for (const int64_t k : {16, 24, 32, 56, 64}) {
      layers.push_back({8, 64, c, k, 7, 2, 3});
      layers.push_back({8, 32, c, k, 5, 2, 2});
      layers.push_back({8, 32, c, k, 3, 1, 1});
    }
  for (const int64_t c : {24, 32, 56, 64, 104, 128})  // multiples of 8, some not of 16
    for (const int64_t size : {4, 7, 14}) {
      layers.push_back({8, size, c, c, 3, 1, 1});
      layers.push_back({8, size, c, c + 24, 3, 2, 1});
      layers.push_back({8, size, c, c + 24, 1, 2, 0});
      layers.push_back({8, size, c, 4 * c, 1, 1, 0});
      layers.push_back({8, size, 4 * c, c, 1, 1, 0});
    }
  const auto check = [](const std::string& kernel) {
    INFO(kernel);
    CHECK(is_fast(kernel));
    if (without_avx512()) CHECK(kernel.find("avx512") == kernel.npos);
  };
  std::size_t checked = 0;
  for (const auto& l : layers) {
    const auto s = make_conv2d_shape(l.n, l.size, l.size, l.c, l.k, l.filter, l.stride, l.pad, l.c + 8);
    INFO(l.filter << "x" << l.filter << "/" << l.stride << " " << l.c << " to " << l.k << " on " << l.size);
    const auto run = [&](rtfq_dtype x, rtfq_dtype w, rtfq_dtype y) {
      const auto typed = with_types(s, x, w, y);
      INFO(type_name(x) << " " << type_name(w) << " " << type_name(y));
      if (!onednn::conv2d_forward_unsupported(typed)) check(onednn::conv2d_forward_kernel(typed)), ++checked;
      if (!onednn::conv2d_wgrad_unsupported(typed)) check(onednn::conv2d_wgrad_kernel(typed)), ++checked;
      // The data gradient of images is not asked for.
      if (!onednn::conv2d_dgrad_unsupported(typed) && (x == RTFQ_F32 || l.c > 3))
        check(onednn::conv2d_dgrad_kernel(typed)), ++checked;
    };
    run(RTFQ_F32, RTFQ_F32, RTFQ_F32);
    run(RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
    for (const auto x : {RTFQ_U8, RTFQ_S8})
      for (const auto y : {RTFQ_F32, RTFQ_BF16}) {
        run(x, RTFQ_S8, y);
        run(x, RTFQ_F32, y);
      }
  }
  const bool all = !without_avx512() && cpu::fast_bf16() && cpu::fast_int8();
  CHECK(checked >= (all ? 12 : 5) * layers.size());
}

TEST_CASE("conv2d onednn: what the processor lacks is refused") {
  const auto s = make_conv2d_shape(2, 8, 8, 16, 16, 3, 1, 1, 16);
  const auto codes = with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_F32);
  const auto half = with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  CHECK((onednn::conv2d_forward_unsupported(codes) == nullptr) == cpu::fast_int8());
  if (cpu::fast_bf16())
    CHECK((!onednn::conv2d_forward_unsupported(half) && !onednn::conv2d_dgrad_unsupported(half) &&
           !onednn::conv2d_wgrad_unsupported(half)));
  if (!limited_to_avx2()) return;
  CHECK_FALSE(cpu::fast_int8());
  CHECK_FALSE(cpu::fast_bf16());
  CHECK(cpu::describe_features() == "AVX2, no BF16, no VNNI");
  CHECK(onednn::conv2d_forward_unsupported(half) != nullptr);
  CHECK(choose<Conv2dForward>(Backend::cpu, codes).name != std::string("onednn"));
}

TEST_CASE("conv2d onednn: packed weights and workspace outlive a change of the thread count") {
  // On a machine of 2 cores the plan is made for 2 threads; its layout and scratch serve 1 and 5 as well.
  const auto s = make_conv2d_shape(4, 14, 14, 56, 104, 3, 1, 1, 64);
  const auto x = exact(s.n * s.h * s.w * s.c, 1), w = exact(s.k * 9 * s.c_parent, 2);
  const auto g = exact(s.n * s.h * s.w * s.k, 3);
  const auto& forward = implementation<Conv2dForward>("onednn");
  const auto& wgrad = implementation<Conv2dWgrad>("onednn");
  const Packed<Conv2dForward> packed(forward, s, w.data());
  catalog::Buffer forward_workspace(forward.workspace(s)), wgrad_workspace(wgrad.workspace(s));

  const auto run = [&] {
    std::vector<float> y(g.size()), dw(w.size(), 0.0f);
    forward.launch(s, {x.data(), packed.get(), y.data(), forward_workspace.data()}, {});
    wgrad.launch(s, {x.data(), g.data(), dw.data(), false, wgrad_workspace.data()}, {});
    y.insert(y.end(), dw.begin(), dw.end());
    return y;
  };
  CHECK(independent_of_threads(run));  // the data is exact: any order gives the same bits
  CHECK((forward_workspace.guards_intact() && wgrad_workspace.guards_intact()));
  const Threads threads(5);
  CHECK(forward.workspace(s) == forward_workspace.bytes());
  CHECK(wgrad.workspace(s) == wgrad_workspace.bytes());
}

TEST_CASE("conv2d onednn: threads share plans") {
  const auto s = make_conv2d_shape(2, 8, 8, 24, 40, 3, 1, 1, 24);
  const auto x = exact(s.n * s.h * s.w * s.c, 1), w = exact(s.k * 9 * s.c, 2);
  const auto& impl = implementation<Conv2dForward>("onednn");
  const auto run = [&] {
    const Packed<Conv2dForward> packed(impl, s, w.data());
    catalog::Buffer workspace(impl.workspace(s));
    std::vector<float> y(static_cast<std::size_t>(s.n * s.h * s.w * s.k));
    impl.launch(s, {x.data(), packed.get(), y.data(), workspace.data()}, {});
    return y;
  };
  std::array<std::vector<float>, 4> results;
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = run(); });  // the plan is not there yet
  for (auto& thread : threads) thread.join();
  const auto expected = run();
  for (const auto& result : results) CHECK(same_bits(result, expected));
}

TEST_CASE("conv2d onednn: the same without AVX-512") {
  // oneDNN reads the limit once a process, so the test runs itself again.
  if (limited_to_avx2()) return;
  std::array<char, 4096> path{};
  REQUIRE(readlink("/proc/self/exe", path.data(), path.size() - 1) > 0);
  const std::string exe = path.data();
  for (const std::string only :
       {"catalog: conv2d", "catalog: linear", "conv2d onednn: what the processor lacks is refused",
        "conv2d widening*", "conv2d onednn: every layer of a ResNet gets a jitted kernel"}) {
    INFO("ONEDNN_MAX_CPU_ISA=AVX2 " << exe << " '" << only << "'");
    CHECK(std::system(("ONEDNN_MAX_CPU_ISA=AVX2 '" + exe + "' '" + only + "' > /dev/null").c_str()) == 0);
  }
}
