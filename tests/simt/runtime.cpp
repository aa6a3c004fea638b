// kernels/runtime on simt and cuda.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <csignal>
#include <cstring>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/elementwise.h"
#include "kernels/fakequant.h"
#include "kernels/runtime/stream.h"
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

namespace {

/// Device memory and a stream of simt, under guard.
struct Guarded {
  simt::ScopedOptions options;
  Device device{Backend::simt, 0};
  Stream stream{};
  float* memory = nullptr;

  Guarded() {
    simt::options().guard = true;
    stream = runtime::create_stream(device);
    memory = static_cast<float*>(runtime::allocate(device, 64));
  }
  ~Guarded() {
    runtime::destroy_stream(stream);
    runtime::release(device, memory);
  }
};

/// Signal that a child ends with when it runs `body`; 0: none.
template <class Body>
int signal_of(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // not Catch's
    if (!freopen("/dev/null", "w", stderr)) _exit(1);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE(
    "runtime: guarded memory of simt is out of the host's reach but not of launches, copies and fills") {
  Guarded g;
  CHECK(signal_of([&] { g.memory[0] = 1; }) == SIGSEGV);
  volatile float seen = 0;
  CHECK(signal_of([&] { seen = g.memory[15]; }) == SIGSEGV);
  std::vector<float> a(16, -2.0f), back(16);
  runtime::copy(g.memory, g.device, a.data(), {}, 64, g.stream);
  runtime::fill_zero(g.device, g.memory + 8, 16, g.stream);
  const auto shape = make_elementwise_shape(16);
  choose<Add>(Backend::simt, shape).launch(shape, {g.memory, g.memory, g.memory}, g.stream);
  runtime::copy(back.data(), {}, g.memory, g.device, 64, g.stream);
  for (int i = 0; i < 16; ++i) CHECK(back[static_cast<std::size_t>(i)] == (i < 8 || i >= 12 ? -4.0f : 0.0f));
  CHECK(signal_of([&] { seen = g.memory[0]; }) == SIGSEGV);
  CHECK_THROWS_WITH(choose<Add>(Backend::simt, shape).launch(shape, {a.data(), g.memory, g.memory}, g.stream),
                    Contains("host's memory"));
}

TEST_CASE("runtime: events order streams, and say how long it took") {
  const Device device{Backend::simt, 0};
  const Stream first = runtime::create_stream(device), second = runtime::create_stream(device);
  runtime::Event begin(device), end(device);
  std::vector<int> order;
  begin.record(first);
  static_cast<simt::Stream*>(first.handle)->submit([&] { order.push_back(1); });
  end.record(first);
  end.hold(second);
  static_cast<simt::Stream*>(second.handle)->submit([&] { order.push_back(2); });
  runtime::synchronize(second);
  CHECK(order == std::vector<int>{1, 2});
  CHECK(runtime::Event::elapsed(begin, end) >= 0);
  runtime::destroy_stream(second);
  runtime::destroy_stream(first);
}

TEST_CASE("runtime: a graph repeats what was captured and runs nothing before") {
  const Device device{Backend::simt, 0};
  const Stream stream = runtime::create_stream(device);
  auto* x = static_cast<float*>(runtime::allocate(device, 16));
  const std::vector<float> start{1, 2, 3, 4};
  runtime::copy(x, device, start.data(), {}, 16, stream);
  const auto shape = make_elementwise_shape(4);
  runtime::Graph::begin_capture(stream);
  choose<Add>(Backend::simt, shape).launch(shape, {x, x, x}, stream);
  const runtime::Graph graph = runtime::Graph::end_capture(stream);
  std::vector<float> back(4);
  runtime::copy(back.data(), {}, x, device, 16, stream);
  CHECK(back == start);
  graph.launch(stream);
  graph.launch(stream);
  auto* pinned = static_cast<float*>(runtime::allocate_pinned(device, 16));
  runtime::copy_async(pinned, {}, x, device, 16, stream);
  runtime::synchronize(stream);
  CHECK(std::vector<float>(pinned, pinned + 4) == std::vector<float>{4, 8, 12, 16});
  runtime::release_pinned(device, pinned);
  CHECK_THROWS_WITH(runtime::Graph::begin_capture({}), Contains("the cpu has no graphs"));
  runtime::destroy_stream(stream);
  runtime::release(device, x);
}

TEST_CASE("runtime: what a device is") {
  const auto p = runtime::properties({Backend::simt, 0});
  CHECK(!p.name.empty());
  CHECK(p.multiprocessors > 0);
  const auto m = runtime::memory_info({});
  CHECK((m.total > 0 && m.free <= m.total));
  CHECK(runtime::available({}));
  std::string why;
  if (!runtime::available({Backend::cuda, 0}, &why))
    CHECK_THAT(why, Contains(built_with_cuda ? "no usable CUDA device" : "no cuda backend"));
}
