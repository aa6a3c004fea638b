// ReLU, addition and conversion, met exactly: each result is one operand or one sum, rounded once to its
// type.
#include "kernels/elementwise.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

/// Which operand the result overwrites.
enum class Alias { none, first, second };

constexpr int64_t streamed_bytes = 16 << 20;  // stored past the caches
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

template <class T>
T* add_filled(auto* problem, int64_t count, uint64_t seed) {
  std::vector<float> x(static_cast<std::size_t>(count));
  fill(x.data(), count, seed);
  return static_cast<T*>(add_operand(problem, type_of<T>, &x));
}

/// One result from up to two operands of type T; `expect(a, b)` in fp64.
template <class Op, class T, class Bind, class Expect>
Entry make_entry(int64_t count, Alias alias, bool two, Bind bind, Expect expect) {
  const char* suffix = alias == Alias::none    ? ""
                       : alias == Alias::first ? "_in_place"
                                               : "_in_place_of_second";
  constexpr rtfq_dtype type = type_of<T>;
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Op>>();
    problem->shape = make_elementwise_shape(count, type);
    const auto n = static_cast<std::size_t>(count);
    T* a = add_filled<T>(problem.get(), count, 51);
    T* b = two ? add_filled<T>(problem.get(), count, 52) : a;
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(
          stored(type, expect(static_cast<double>(as_float(a[i])), static_cast<double>(as_float(b[i])))));
    T* y = alias == Alias::none ? problem->template add<T>(n) : alias == Alias::first ? a : b;
    const std::size_t buffer = alias == Alias::none ? problem->last() : alias == Alias::first ? 0 : 1;
    problem->args = bind(a, b, y);
    problem->expected.push_back({"y", buffer, type, std::move(values)});
    if (alias != Alias::none) {
      const auto first = std::make_shared<std::vector<T>>(y, y + n);
      problem->restore = [first, y] { std::copy(first->begin(), first->end(), y); };
    }
    return problem;
  };
  return entry<Op>(std::to_string(count) + (type == RTFQ_BF16 ? "_bf16" : "") + suffix, build,
                   count == large);
}

/// Any f32 may be rounded: bit patterns at random, and the notable values.
template <class X, class Y>
Entry make_convert_entry(int64_t count, rtfq_dtype from, rtfq_dtype to) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Convert>>();
    problem->shape = make_convert_shape(count, from, to);
    const auto n = static_cast<std::size_t>(count);
    X* x = problem->template add<X>(n);
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i) {
      const uint32_t bits = philox4x32(53, i % 65521, 4)[0];
      if constexpr (sizeof(X) == 1)
        x[i] = static_cast<X>(bits);
      else if constexpr (sizeof(X) == 2)
        x[i] = {static_cast<uint16_t>(bits)};
      else  // every fourth on a tie
        x[i] = std::bit_cast<float>(i % 4 == 0 ? (bits & 0xffff0000) | 0x8000 : bits);
      if constexpr (sizeof(X) == 1)
        values.push_back(stored(to, x[i]));
      else
        values.push_back(stored(to, as_float(x[i])));
    }
    problem->args = {x, problem->template add<Y>(n)};
    problem->expected.push_back({"y", problem->last(), to, std::move(values)});
    return problem;
  };
  return entry<Convert>(std::to_string(count) + "_" + type_name(from) + "_" + type_name(to), build,
                        count == large);
}

template <class T>
void add_type(std::vector<Entry>* list) {
  const auto relu = [](double x, double) { return x < 0 ? 0 : x; };
  const auto relu_gradient = [](double g, double y) { return y > 0 ? g : 0; };
  const auto sum = [](double a, double b) { return static_cast<double>(static_cast<float>(a + b)); };
  const auto bind_relu = [](T* a, T*, T* y) { return ReluForwardArgs{a, y}; };
  const auto bind_gradient = [](T* a, T* b, T* y) { return ReluBackwardArgs{a, b, y}; };
  const auto bind_sum = [](T* a, T* b, T* y) { return AddArgs{a, b, y}; };
  const int64_t streamed = streamed_bytes / static_cast<int64_t>(sizeof(T)) + 3;
  for (const int64_t count : {int64_t{1}, int64_t{7}, int64_t{8}, int64_t{9}, int64_t{1000}, int64_t{16384},
                              int64_t{16385}, int64_t{70001}, streamed, large})
    for (const Alias alias : {Alias::none, Alias::first, Alias::second}) {
      if (alias != Alias::none && count > 100000) continue;
      if (alias != Alias::second)
        list->push_back(make_entry<ReluForward, T>(count, alias, false, bind_relu, relu));
      if (alias != Alias::second)
        list->push_back(make_entry<ReluBackward, T>(count, alias, true, bind_gradient, relu_gradient));
      list->push_back(make_entry<Add, T>(count, alias, true, bind_sum, sum));
    }
}

}  // namespace

std::vector<Entry> elementwise_entries() {
  std::vector<Entry> list;
  add_type<float>(&list);
  add_type<bf16>(&list);
  for (const int64_t count :
       {int64_t{1}, int64_t{7}, int64_t{17}, int64_t{16385}, int64_t{70001}, streamed_bytes / 2 + 3, large}) {
    list.push_back(make_convert_entry<float, bf16>(count, RTFQ_F32, RTFQ_BF16));
    list.push_back(make_convert_entry<bf16, float>(count, RTFQ_BF16, RTFQ_F32));
    list.push_back(make_convert_entry<uint8_t, bf16>(count, RTFQ_U8, RTFQ_BF16));
    if (count > 100000) continue;
    list.push_back(make_convert_entry<float, float>(count, RTFQ_F32, RTFQ_F32));
    list.push_back(make_convert_entry<int8_t, bf16>(count, RTFQ_S8, RTFQ_BF16));
    list.push_back(make_convert_entry<uint8_t, float>(count, RTFQ_U8, RTFQ_F32));
    list.push_back(make_convert_entry<int8_t, float>(count, RTFQ_S8, RTFQ_F32));
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
