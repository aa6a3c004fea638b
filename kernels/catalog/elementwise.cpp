// ReLU and addition, met exactly: each result is one operand or a sum of small integers.
#include "kernels/elementwise.h"

#include <algorithm>
#include <limits>

#include "kernels/catalog/catalog.h"

namespace rtfq::kernels::catalog {
namespace {

/// Which operand the result overwrites.
enum class Alias { none, first, second };

constexpr int64_t streamed = (1 << 22) + 3;  // stored past the caches
constexpr int64_t large = 64 * 56 * 56 * 64;

/// Small integers, NaN, infinities, signed zeros and denormals.
void fill(float* x, int64_t count, uint64_t seed) {
  using limits = std::numeric_limits<float>;
  const std::size_t n = static_cast<std::size_t>(count), drawn = std::min<std::size_t>(n, 65521);
  fill_exact(x, drawn, seed);
  for (std::size_t i = drawn; i < n; ++i) x[i] = x[i - drawn];
  const float notable[] = {limits::quiet_NaN(),  limits::infinity(),    -limits::infinity(), -0.0f,
                           limits::denorm_min(), -limits::denorm_min(), limits::max(),       -limits::max()};
  for (std::size_t i = seed % 3; i < std::min<std::size_t>(n, 500); i += 3)
    x[i] = notable[i / 3 % std::size(notable)];
}

/// One result from up to two operands; `expect(a, b)` in fp64.
template <class Op, class Bind, class Expect>
Entry make_entry(int64_t count, Alias alias, bool two, Bind bind, Expect expect) {
  const char* suffix = alias == Alias::none    ? ""
                       : alias == Alias::first ? "_in_place"
                                               : "_in_place_of_second";
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Op>>();
    problem->shape = make_elementwise_shape(count);
    const auto n = static_cast<std::size_t>(count);
    float* a = problem->template add<float>(n);
    fill(a, count, 51);
    float* b = two ? problem->template add<float>(n) : a;
    if (two) fill(b, count, 52);
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(expect(static_cast<double>(a[i]), static_cast<double>(b[i])));
    float* y = alias == Alias::none ? problem->template add<float>(n) : alias == Alias::first ? a : b;
    const std::size_t buffer = alias == Alias::none ? problem->last() : alias == Alias::first ? 0 : 1;
    problem->args = bind(a, b, y);
    problem->expected.push_back({"y", buffer, RTFQ_F32, std::move(values)});
    if (alias != Alias::none) {
      const auto first = std::make_shared<std::vector<float>>(y, y + n);
      problem->restore = [first, y] { std::copy(first->begin(), first->end(), y); };
    }
    return problem;
  };
  return entry<Op>(std::to_string(count) + suffix, build, count == large);
}

}  // namespace

std::vector<Entry> elementwise_entries() {
  const auto relu = [](double x, double) { return x < 0 ? 0 : x; };
  const auto relu_gradient = [](double g, double y) { return y > 0 ? g : 0; };
  const auto sum = [](double a, double b) { return static_cast<double>(static_cast<float>(a + b)); };
  const auto bind_relu = [](float* a, float*, float* y) { return ReluForwardArgs{a, y}; };
  const auto bind_gradient = [](float* a, float* b, float* y) { return ReluBackwardArgs{a, b, y}; };
  const auto bind_sum = [](float* a, float* b, float* y) { return AddArgs{a, b, y}; };
  std::vector<Entry> list;
  for (const int64_t count : {int64_t{1}, int64_t{7}, int64_t{8}, int64_t{9}, int64_t{1000}, int64_t{16384},
                              int64_t{16385}, int64_t{70001}, streamed, large})
    for (const Alias alias : {Alias::none, Alias::first, Alias::second}) {
      if (alias != Alias::none && count > 100000) continue;
      if (alias != Alias::second)
        list.push_back(make_entry<ReluForward>(count, alias, false, bind_relu, relu));
      if (alias != Alias::second)
        list.push_back(make_entry<ReluBackward>(count, alias, true, bind_gradient, relu_gradient));
      list.push_back(make_entry<Add>(count, alias, true, bind_sum, sum));
    }
  return list;
}

}  // namespace rtfq::kernels::catalog
