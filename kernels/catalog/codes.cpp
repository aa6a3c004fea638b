// Values of codes and products of steps: one product each, rounded once, so met exactly.
#include "kernels/codes.h"

#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

double product(float a, float b) {
  return static_cast<double>(static_cast<float>(static_cast<double>(a) * static_cast<double>(b)));
}

void fill_steps(float* steps, int64_t count, uint64_t seed) {
  fill_normal(steps, static_cast<std::size_t>(count), seed, 1.0f, 0.1f);
}

template <class T>
Entry dequantize(int64_t rows, int64_t inner, rtfq_dtype type) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Dequantize>>();
    problem->shape = make_dequantize_shape(rows, inner, type);
    const auto count = static_cast<std::size_t>(rows * inner);
    T* codes = problem->template add<T>(count);
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<T>(i * 37 + 255);
    float* step = problem->template add<float>(static_cast<std::size_t>(rows));
    fill_steps(step, rows, 31);
    std::vector<double> values;
    for (std::size_t i = 0; i < count; ++i)
      values.push_back(product(step[i / static_cast<std::size_t>(inner)], static_cast<float>(codes[i])));
    problem->args = {codes, step, problem->template add<float>(count)};
    problem->expected.push_back({"y", problem->last(), RTFQ_F32, std::move(values)});
    return problem;
  };
  return entry<Dequantize>(std::to_string(rows) + "x" + std::to_string(inner) + "_" + type_name(type), build);
}

Entry scale_product(int64_t count, bool single) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<ScaleProduct>>();
    problem->shape = {count, single};
    const auto n = static_cast<std::size_t>(count);
    float* a = problem->add<float>(1);
    fill_steps(a, 1, 32);
    float* b = problem->add<float>(single ? 1 : n);
    fill_steps(b, single ? 1 : count, 33);
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i) values.push_back(product(a[0], b[single ? 0 : i]));
    problem->args = {a, b, problem->add<float>(n)};
    problem->expected.push_back({"out", problem->last(), RTFQ_F32, std::move(values)});
    return problem;
  };
  return entry<ScaleProduct>(std::to_string(count) + (single ? "_single" : ""), build);
}

}  // namespace

std::vector<Entry> codes_entries() {
  std::vector<Entry> list;
  for (const auto& [rows, inner] :
       {std::pair<int64_t, int64_t>{1, 1}, {1, 1000}, {64, 27}, {257, 1}, {3, 513}}) {
    list.push_back(dequantize<uint8_t>(rows, inner, RTFQ_U8));
    list.push_back(dequantize<int8_t>(rows, inner, RTFQ_S8));
  }
  for (const int64_t count : {int64_t{1}, int64_t{64}, int64_t{257}, int64_t{2048}})
    for (const bool single : {false, true}) list.push_back(scale_product(count, single));
  return list;
}

}  // namespace rtfq::kernels::catalog
