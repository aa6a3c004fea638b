// Two ranks as two threads: each works on half a batch, and together they must be one rank with the whole
// batch.
#include "engine/reducer.h"

#include <barrier>
#include <catch2/catch.hpp>
#include <mutex>
#include <thread>

#include "engine/ops/ops.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;
using test::relative_l2;

namespace {

thread_local int my_rank = 0;

class ThreadReducer final : public Reducer {
 public:
  int rank() const override { return my_rank; }
  int ranks() const override { return 2; }
  void sum(std::span<double> values) override { join(values, doubles_); }
  void sum(std::span<float> values) override { join(values, floats_); }

 private:
  template <class T>
  void join(std::span<T> values, std::vector<T> (&slots)[2]) {
    slots[my_rank].assign(values.begin(), values.end());
    barrier_.arrive_and_wait();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = slots[0][i] + slots[1][i];
    barrier_.arrive_and_wait();
  }
  std::barrier<> barrier_{2};
  std::vector<double> doubles_[2];
  std::vector<float> floats_[2];
};

struct Result {
  std::vector<float> y, dx, dscale, dshift;
  float step = 0;
};

Result run(const Tensor& x, const Tensor& g) {
  Parameter scale("scale", ParameterKind::norm, normal({16}, 1)),
      shift("shift", ParameterKind::norm, normal({16}, 2));
  Tape tape(true);
  Result result;
  const Variable input = tape.record(x, true, [&](Tape&, const Tensor& d) { result.dx = d.to_vector(); });
  const ops::NormSegment parts[] = {{x.dim(0), tape.leaf(scale), tape.leaf(shift)}};
  const Variable y = ops::batch_norm(tape, input, parts, 1e-5f, nullptr);
  result.y = y.data.to_vector();
  result.step = ops::initial_step(x, 1, kernels::quant_bounds(8, false), false, {}).front();
  tape.backward(y, g.clone());
  result.dscale = scale.gradient.to_vector();
  result.dshift = shift.gradient.to_vector();
  return result;
}

std::vector<float> join(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<float> sum(std::vector<float> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

}  // namespace

TEST_CASE("reducer: two ranks with half a batch each are one rank with all of it") {
  const Tensor x = normal({6, 4, 4, 16}, 3, 2.0f), g = normal({6, 4, 4, 16}, 4);
  const Result one = run(x, g);
  ThreadReducer two_ranks;
  set_reducer(&two_ranks);
  Result parts[2];
  std::thread threads[2];
  for (int rank = 0; rank < 2; ++rank)
    threads[rank] = std::thread([&, rank] {
      my_rank = rank;
      const int64_t begin = rank ? 2 : 0, count = rank ? 4 : 2;  // unequal halves
      parts[rank] = run(x.slice(0, begin, count).clone(), g.slice(0, begin, count).clone());
    });
  for (auto& thread : threads) thread.join();
  set_reducer(nullptr);
  CHECK(relative_l2(join(parts[0].y, parts[1].y), one.y) < 1e-5);
  CHECK(relative_l2(join(parts[0].dx, parts[1].dx), one.dx) < 1e-5);
  CHECK(relative_l2(sum(parts[0].dscale, parts[1].dscale), one.dscale) < 1e-5);
  CHECK(relative_l2(sum(parts[0].dshift, parts[1].dshift), one.dshift) < 1e-5);
  CHECK(parts[0].step == Approx(one.step));
  CHECK(parts[0].step == parts[1].step);
}
