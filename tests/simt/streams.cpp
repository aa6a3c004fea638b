// Streams, events and graphs of the executor.
#include <catch2/catch.hpp>
#include <set>

#include "kernels/simt/executor.h"
#include "tests/simt/faults.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Contains;

namespace {

void add(simt::Stream& stream, float* p, float v) {
  simt::launch(add_to, dim3(1), dim3(32), 0, &stream, p, v, 1);
}
void twice(simt::Stream& stream, float* p) {
  simt::launch(double_it, dim3(1), dim3(32), 0, &stream, p, 1);
}

/// (1 + 3) * 2, or 1 * 2 + 3 when the streams run in the wrong order.
float add_then_double(bool ordered) {
  simt::Stream a, b;
  float x = 1;
  add(a, &x, 3);
  if (ordered) {
    simt::Event added;
    a.record(added);
    b.wait(added);
  }
  twice(b, &x);
  a.synchronize();
  b.synchronize();
  return x;
}

}  // namespace

TEST_CASE("streams: nothing runs before somebody synchronises, then in order") {
  simt::Stream stream;
  float x = 1;
  add(stream, &x, 3);
  twice(stream, &x);
  CHECK(x == 1);
  stream.synchronize();
  CHECK(x == 8);
  add(stream, &x, 1);
  simt::launch(double_it, dim3(1), dim3(32), 0, nullptr, &x, 1);  // the null stream waits for the others
  CHECK(x == 18);
}

TEST_CASE("streams: what is not ordered by an event runs in either order") {
  const simt::ScopedOptions scope;
  std::set<float> with, without;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    simt::options().seed = seed;
    with.insert(add_then_double(true));
    without.insert(add_then_double(false));
  }
  CHECK(with == std::set<float>{8});
  CHECK(without == std::set<float>{5, 8});
}

TEST_CASE("streams: a graph records instead of running and runs again and again") {
  simt::Stream stream;
  float x = 1;
  stream.begin_capture();
  add(stream, &x, 3);
  twice(stream, &x);
  CHECK_THROWS_WITH(stream.synchronize(), Contains("end it first"));
  const simt::Graph graph = stream.end_capture();
  CHECK(graph.size() == 2);
  stream.synchronize();
  CHECK(x == 1);
  stream.launch(graph);
  stream.launch(graph);
  stream.synchronize();
  CHECK(x == 22);
  CHECK_THROWS_WITH(stream.end_capture(), Contains("not capturing"));
}

TEST_CASE("streams: an event never recorded holds nobody up, one whose stream failed is named") {
  simt::Stream a;
  simt::Event never, late;
  a.wait(never);
  CHECK_NOTHROW(a.synchronize());
  {
    simt::Stream b;  // its end runs what is queued up to the failure
    b.submit([] { throw std::runtime_error("failed"); });
    b.record(late);
    a.wait(late);
  }
  CHECK_THROWS_WITH(a.synchronize(), Contains("nothing can go on"));
}

TEST_CASE("streams: a bad launch is refused when it is queued, a fault shows when it runs") {
  simt::Stream stream;
  float x[2] = {};
  CHECK_THROWS_AS(simt::launch(double_it, dim3(1), dim3(2000), 0, &stream, x, 1), simt::Error);
  simt::launch(divergent_barrier, dim3(1), dim3(64), 0, &stream, x);
  CHECK_THROWS_WITH(stream.synchronize(), Contains("divergent"));
}
