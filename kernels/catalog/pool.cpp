// Pooling. Small integers make ties common, so that "the first of equals" is tested; NaN and infinities have
// a case.
#include "kernels/pool.h"

#include <cmath>
#include <limits>

#include "kernels/catalog/custom_parts.h"

namespace rtfq::kernels::catalog {
namespace {

struct Case {
  const char* name;
  int64_t n, h, w, c, window, stride, pad;
  PoolShape shape(rtfq_dtype type = RTFQ_F32) const {
    return make_pool_shape(n, h, w, c, window, stride, pad, type);
  }
};

std::size_t count_x(const PoolShape& s) {
  return static_cast<std::size_t>(s.n * s.h * s.w * s.c);
}
std::size_t count_y(const PoolShape& s) {
  return static_cast<std::size_t>(s.n * output_height(s) * output_width(s) * s.c);
}

constexpr double code_step = 0x1.9p-5;  ///< an f32

struct Maxima {
  std::vector<double> y, index;
};

/// Visits the window's places in order and keeps a later one only when it is greater (or not a number).
Maxima reference_max(const PoolShape& s, const float* x) {
  Maxima result;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < output_height(s); ++p)
      for (int64_t q = 0; q < output_width(s); ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          double best = -std::numeric_limits<double>::infinity();
          int64_t at = -1;
          for (int64_t place = 0; place < s.window * s.window; ++place) {
            const int64_t h = p * s.stride + place / s.window - s.pad,
                          w = q * s.stride + place % s.window - s.pad;
            if (h < 0 || w < 0 || h >= s.h || w >= s.w) continue;
            const double value = x[((n * s.h + h) * s.w + w) * s.c + c];
            if (at < 0 || value > best || std::isnan(value)) best = value, at = place;
          }
          result.y.push_back(best);
          result.index.push_back(static_cast<double>(at));
        }
  return result;
}

template <class T>
std::unique_ptr<Problem<MaxPoolForward>> max_forward(const Case& the_case, bool special, bool with_index) {
  auto problem = std::make_unique<Problem<MaxPoolForward>>();
  const auto s = problem->shape = the_case.shape(type_of<T>);
  std::vector<float> x(count_x(s));
  fill_exact(x.data(), x.size(), 41);
  if (special)
    for (std::size_t i = 0; i < count_x(s); ++i) {
      if (i % 3 == 0) x[i] = -std::numeric_limits<float>::infinity();
      if (i % 31 == 0) x[i] = std::numeric_limits<float>::quiet_NaN();
      if (i % 37 == 0) x[i] = std::numeric_limits<float>::infinity();
    }
  const void* operand = add_operand(problem.get(), type_of<T>, &x);
  Maxima reference = reference_max(s, x.data());
  T* y = problem->template add<T>(count_y(s));
  problem->expected.push_back(
      {.name = "y", .buffer = problem->last(), .type = type_of<T>, .values = std::move(reference.y)});
  uint8_t* index = nullptr;
  if (with_index) {
    index = problem->template add<uint8_t>(count_y(s));
    problem->expected.push_back(
        {.name = "index", .buffer = problem->last(), .type = RTFQ_U8, .values = std::move(reference.index)});
  }
  problem->args = {operand, y, index};
  return problem;
}

template <class T>
std::unique_ptr<Problem<MaxPoolBackward>> max_backward(const Case& the_case) {
  auto problem = std::make_unique<Problem<MaxPoolBackward>>();
  const auto s = problem->shape = the_case.shape(type_of<T>);
  std::vector<float> x(count_x(s));
  fill_exact(x.data(), x.size(), 42);
  const Maxima reference = reference_max(s, x.data());
  // Up to 8 bits each: where windows overlap, a sum does not fit bf16 and is rounded.
  std::vector<float> g(count_y(s));
  fill_exact(g.data(), g.size(), 43, 127, 0.5f);
  const void* operand = add_operand(problem.get(), type_of<T>, &g);
  auto* index = problem->template add<uint8_t>(count_y(s));
  std::vector<double> expected(count_x(s), 0.0);
  for (std::size_t i = 0; i < count_y(s); ++i) {
    index[i] = static_cast<uint8_t>(reference.index[i]);
    const auto at = static_cast<int64_t>(i);
    const int64_t c = at % s.c, q = at / s.c % output_width(s),
                  p = at / s.c / output_width(s) % output_height(s);
    const int64_t n = at / s.c / output_width(s) / output_height(s);
    const int64_t h = p * s.stride + index[i] / s.window - s.pad,
                  w = q * s.stride + index[i] % s.window - s.pad;
    expected[static_cast<std::size_t>(((n * s.h + h) * s.w + w) * s.c + c)] += g[i];
  }
  for (double& value : expected) value = as_float(element_of<T>(value));
  T* dx = problem->template add<T>(count_x(s));
  problem->expected.push_back(
      {.name = "dx", .buffer = problem->last(), .type = type_of<T>, .values = std::move(expected)});
  problem->args = {operand, index, dx};
  return problem;
}

/// Exact sums; the only rounding is the division's.
template <class T>
std::unique_ptr<Problem<AveragePoolForward>> average_forward(const Case& the_case, bool normal) {
  auto problem = std::make_unique<Problem<AveragePoolForward>>();
  const auto s = problem->shape = the_case.shape(type_of<T>);
  std::vector<float> x(count_x(s));
  if (normal)
    fill_normal(x.data(), x.size(), 44, 1.0f);
  else
    fill_exact(x.data(), x.size(), 44);
  const void* operand = add_operand(problem.get(), type_of<T>, &x);
  std::vector<double> expected;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < s.h * s.w; ++i)
        sum += x[static_cast<std::size_t>((n * s.h * s.w + i) * s.c + c)];
      const double mean = sum / static_cast<double>(s.h * s.w);
      expected.push_back(normal ? mean : static_cast<double>(as_float(element_of<T>(mean))));
    }
  T* y = problem->template add<T>(static_cast<std::size_t>(s.n * s.c));
  // Normal: values around 1, fewer than 64 additions in each of four partial sums; then bf16's rounding.
  problem->expected.push_back({.name = "y",
                               .buffer = problem->last(),
                               .type = type_of<T>,
                               .values = std::move(expected),
                               .absolute = normal ? 2e-6 : 0.0,
                               .relative = normal && type_of<T> == RTFQ_BF16 ? 0x1p-8 : 0.0});
  problem->args = {operand, y, nullptr};
  return problem;
}

/// u8 codes up to 255: exact sums, one rounding, and another one of the product with the scale.
std::unique_ptr<Problem<AveragePoolForward>> average_codes(const Case& the_case, bool scaled) {
  auto problem = std::make_unique<Problem<AveragePoolForward>>();
  const auto s = problem->shape = the_case.shape(RTFQ_U8);
  auto* x = problem->add<uint8_t>(count_x(s));
  for (std::size_t i = 0; i < count_x(s); ++i) x[i] = static_cast<uint8_t>(255 - i * 37 % 256);
  std::vector<double> expected;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < s.h * s.w; ++i) sum += x[(n * s.h * s.w + i) * s.c + c];
      const double mean = static_cast<double>(static_cast<float>(sum / static_cast<double>(s.h * s.w)));
      expected.push_back(scaled ? static_cast<double>(static_cast<float>(mean * code_step)) : mean);
    }
  float* scale = nullptr;
  if (scaled) *(scale = problem->add<float>(1)) = static_cast<float>(code_step);
  float* y = problem->add<float>(static_cast<std::size_t>(s.n * s.c));
  problem->expected.push_back({.name = "y", .buffer = problem->last(), .values = std::move(expected)});
  problem->args = {x, y, scale};
  return problem;
}

std::unique_ptr<Problem<MaxPoolForward>> max_codes(const Case& the_case) {
  auto problem = std::make_unique<Problem<MaxPoolForward>>();
  const auto s = problem->shape = the_case.shape(RTFQ_U8);
  std::vector<float> x(count_x(s));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(255 - i * 37 % 256);
  const void* operand = add_operand(problem.get(), RTFQ_U8, &x);
  auto* y = problem->add<uint8_t>(count_y(s));
  problem->expected.push_back(
      {.name = "y", .buffer = problem->last(), .type = RTFQ_U8, .values = reference_max(s, x.data()).y});
  problem->args = {operand, y, nullptr};
  return problem;
}

template <class T>
std::unique_ptr<Problem<AveragePoolBackward>> average_backward(const Case& the_case) {
  auto problem = std::make_unique<Problem<AveragePoolBackward>>();
  const auto s = problem->shape = the_case.shape(type_of<T>);
  std::vector<float> g(static_cast<std::size_t>(s.n * s.c));
  fill_exact(g.data(), g.size(), 45, 100);
  const void* operand = add_operand(problem.get(), type_of<T>, &g);
  std::vector<double> expected;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.h * s.w; ++i)
      for (int64_t c = 0; c < s.c; ++c)
        expected.push_back(as_float(element_of<T>(
            static_cast<double>(g[static_cast<std::size_t>(n * s.c + c)]) / static_cast<double>(s.h * s.w))));
  T* dx = problem->template add<T>(count_x(s));
  problem->expected.push_back(
      {.name = "dx", .buffer = problem->last(), .type = type_of<T>, .values = std::move(expected)});
  problem->args = {operand, dx};
  return problem;
}

// n, h, w, c, window, stride, pad
const Case max_cases[] = {
    {"3s2p1_8x8_16", 2, 8, 8, 16, 3, 2, 1},   {"3s2p1_odd_9x7_24", 2, 9, 7, 24, 3, 2, 1},
    {"2s2_6x6_32", 1, 6, 6, 32, 2, 2, 0},     {"2s2_odd_5x7_8", 3, 5, 7, 8, 2, 2, 0},
    {"3s1p1_5x6_19", 2, 5, 6, 19, 3, 1, 1},   {"3s2_7x7_5", 2, 7, 7, 5, 3, 2, 0},
    {"4s3p3_9x9_33", 1, 9, 9, 33, 4, 3, 3},   {"2s3_gaps_8x8_17", 2, 8, 8, 17, 2, 3, 0},
    {"16s1p15_4x4_3", 1, 4, 4, 3, 16, 1, 15}, {"3s2p1_one_pixel_1", 1, 1, 1, 1, 3, 2, 1},
    {"1s1_3x3_16", 1, 3, 3, 16, 1, 1, 0},
};
const Case average_cases[] = {
    {"7x7_64", 2, 7, 7, 64, 1, 1, 0},   {"4x4_40", 3, 4, 4, 40, 1, 1, 0},
    {"3x5_19", 2, 3, 5, 19, 1, 1, 0},   {"1x1_16", 2, 1, 1, 16, 1, 1, 0},
    {"1x2_3", 1, 1, 2, 3, 1, 1, 0},     {"14x14_17", 1, 14, 14, 17, 1, 1, 0},
    {"2x3_530", 2, 2, 3, 530, 1, 1, 0},
};

template <class T>
void add_type(std::vector<Entry>* list) {
  const std::string suffix = type_of<T> == RTFQ_BF16 ? "_bf16" : "";
  for (const auto& c : max_cases) {
    const std::string name = c.name + suffix;
    list->push_back(entry<MaxPoolForward>(name, [=] { return max_forward<T>(c, false, true); }));
    list->push_back(
        entry<MaxPoolForward>(name + "_special_values", [=] { return max_forward<T>(c, true, true); }));
    list->push_back(
        entry<MaxPoolForward>(name + "_no_index", [=] { return max_forward<T>(c, false, false); }));
    list->push_back(entry<MaxPoolBackward>(name, [=] { return max_backward<T>(c); }));
  }
  for (const auto& c : average_cases) {
    const std::string name = c.name + suffix;
    list->push_back(entry<AveragePoolForward>(name, [=] { return average_forward<T>(c, false); }));
    list->push_back(entry<AveragePoolForward>(name + "_normal", [=] { return average_forward<T>(c, true); }));
    list->push_back(entry<AveragePoolBackward>(name, [=] { return average_backward<T>(c); }));
  }
  const Case stem{"resnet18_3s2p1_56x56_64", 64, 56, 56, 64, 3, 2, 1};
  list->push_back(entry<MaxPoolForward>(
      stem.name + suffix, [=] { return max_forward<T>(stem, false, true); }, true));
  list->push_back(entry<MaxPoolBackward>(
      stem.name + suffix, [=] { return max_backward<T>(stem); }, true));
  const Case head{"resnet50_7x7_2048", 64, 7, 7, 2048, 1, 1, 0};
  list->push_back(entry<AveragePoolForward>(
      head.name + suffix, [=] { return average_forward<T>(head, true); }, true));
  list->push_back(entry<AveragePoolBackward>(
      head.name + suffix, [=] { return average_backward<T>(head); }, true));
}

}  // namespace

namespace custom_parts {

std::unique_ptr<Instance> pool(const CustomRequest& request) {
  Dims dims(request);
  const bool maximum = request.op.rfind("maxpool.", 0) == 0, forward = request.op.ends_with(".forward");
  Case c{"custom", dims.need("n"), dims.need("h"), dims.need("w"), dims.need("c"), 1, 1, 0};
  if (maximum) c.window = dims.need("window"), c.stride = dims.need("stride"), c.pad = dims.get("pad", 0);
  dims.finish();
  require_types(request);
  if (request.fill == Fill::zeros || request.fill == Fill::given)
    refuse(request, "data are small integers: leave --data normal");
  const auto of_type = [&]<class T>(T) -> std::unique_ptr<Instance> {
    if (maximum)
      return forward ? instance_of(max_forward<T>(c, false, true)) : instance_of(max_backward<T>(c));
    return forward ? instance_of(average_forward<T>(c, false)) : instance_of(average_backward<T>(c));
  };
  return request.type == RTFQ_BF16 ? of_type(bf16{}) : of_type(float{});
}

}  // namespace custom_parts

std::vector<Entry> pool_entries() {
  std::vector<Entry> list;
  add_type<float>(&list);
  add_type<bf16>(&list);
  for (const auto& c : max_cases)
    list.push_back(entry<MaxPoolForward>(c.name + std::string("_codes"), [=] { return max_codes(c); }));
  for (const auto& c : average_cases)
    for (const bool scaled : {false, true})
      list.push_back(entry<AveragePoolForward>(c.name + std::string(scaled ? "_codes_scaled" : "_codes"),
                                               [=] { return average_codes(c, scaled); }));
  return list;
}

}  // namespace rtfq::kernels::catalog
