// kernels/runtime on simt and cuda.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/fakequant.h"
#include "kernels/simt/executor.h"
#include "tests/support/skip.h"

using namespace rtfq;
using namespace rtfq::kernels;
using Catch::Contains;

TEST_CASE("runtime: simt allocates NaNs, copies and fills") {
  const Device device{Backend::simt, 0}, host{};
  const Stream stream{device};
  auto* p = static_cast<float*>(runtime::allocate(device, 10 * sizeof(float)));
  CHECK(reinterpret_cast<uintptr_t>(p) % 64 == 0);
  for (int i = 0; i < 10; ++i) CHECK(std::isnan(p[i]));
  const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  runtime::copy(p, device, values.data(), host, 40, stream);
  runtime::fill_zero(device, p + 5, 8, stream);
  std::vector<float> back(10);
  runtime::copy(back.data(), host, p, device, 40, stream);
  CHECK(back == std::vector<float>{1, 2, 3, 4, 5, 0, 0, 8, 9, 10});
  runtime::release(device, p);
}

TEST_CASE("runtime: a simt stream queues fills and copies among launches") {
  simt::Stream queue;
  const Device device{Backend::simt, 0};
  const Stream stream{device, &queue};
  std::vector<float> a(4, 7.0f), b(4, 1.0f);
  runtime::fill_zero(device, a.data(), 16, stream);
  runtime::copy(b.data(), device, a.data(), device, 16, stream);
  CHECK(b[0] == 1.0f);
  runtime::synchronize(stream);
  CHECK(b == std::vector<float>(4));
  a[0] = 3;
  runtime::fill_zero(device, a.data() + 1, 4, stream);
  std::vector<float> back(4, 9.0f);
  runtime::copy(back.data(), {}, a.data(), device, 16, stream);  // to the host: done on return
  CHECK(back == std::vector<float>{3, 0, 0, 0});
}

// An operator that has kernels for the CPU alone.
namespace rtfq::kernels {
RTFQ_OPERATOR(OnlyOnCpu, "only.on.cpu", FakeQuantShape, FakeQuantForwardArgs);
std::span<const OnlyOnCpu::Impl> OnlyOnCpu::cpu() {
  return {};
}
}  // namespace rtfq::kernels

TEST_CASE("runtime: an operator without kernels for a backend says so by name") {
  const FakeQuantShape f = make_fakequant_shape(8, quant_bounds(4, true));
  CHECK_THROWS_WITH(choose<OnlyOnCpu>(Backend::simt, f),
                    Contains("[only.on.cpu]") && Contains("no simt backend"));
  CHECK_THROWS_WITH(choose<OnlyOnCpu>(Backend::cuda, f),
                    Contains("[only.on.cpu]") && Contains("no cuda backend"));
  CHECK_NOTHROW(choose<FakeQuantForward>(Backend::simt, f));
  if (built_with_cuda)
    CHECK_NOTHROW(choose<FakeQuantForward>(Backend::cuda, f));
  else
    CHECK_THROWS_WITH(choose<FakeQuantForward>(Backend::cuda, f), Contains("[fakequant.forward]"));
}

TEST_CASE(
    "runtime: a build without CUDA, and one on a machine without a GPU, say so when asked for the device") {
  const Device device{Backend::cuda, 0};
  void* pointer = nullptr;
  std::string message;
  try {
    pointer = runtime::allocate(device, 16);
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  if (pointer) {
    runtime::release(device, pointer);
    return test::skip("this machine has a CUDA device");
  }
  CHECK_THAT(message, Contains(built_with_cuda ? "no usable CUDA device" : "no cuda backend"));
}
