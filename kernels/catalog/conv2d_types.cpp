// Convolutions in bf16 and on codes, met exactly: sums of small integers are exact in f32 and sums of codes
// in s32, in any order, so that what is left is the roundings that kernels/conv2d.h names, and the reference
// makes the same.
#include <algorithm>

#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

using Floats = std::vector<float>;

using Data = Conv2dData;

/// Small integers times `scale`; for results far from zero 3 and 4 times it.
Floats integers(std::size_t count, uint64_t seed, float scale, Data data = Data::random) {
  Floats x(count);
  fill_exact(x.data(), count, seed, 4, scale);
  if (data == Data::far)
    for (float& value : x) value = value < 0 ? 3 * scale : 4 * scale;
  return x;
}

Floats codes(rtfq_dtype type, std::size_t count, uint64_t seed, Data data) {
  const int low = type == RTFQ_U8 ? 0 : -128;
  Floats x(count);
  for (std::size_t i = 0; i < count; ++i) {
    const uint32_t drawn = philox4x32(seed, i, 2)[0];
    if (data == Data::random)
      x[i] = static_cast<float>(low + static_cast<int>(drawn % 256));
    else if (data == Data::far)
      x[i] = static_cast<float>(low + 255 - static_cast<int>(drawn % 2));
    else  // mostly one end, so that sums reach their greatest magnitude
      x[i] = static_cast<float>(drawn % 16 == 0 ? low : type == RTFQ_U8 ? 255 : drawn % 8 == 1 ? 127 : -128);
  }
  return x;
}

/// Adds the parent's weights, poisoned outside the slice, and returns them as the product sees them.
template <class Op>
Floats add_weights(Problem<Op>* problem, const Conv2dCase& c, Data kind, uint64_t seed) {
  const auto& s = problem->shape;
  const auto places = conv2d_slice(s);
  Floats values = s.w_type == RTFQ_S8 ? codes(RTFQ_S8, places.size(), seed, kind)
                                      : integers(places.size(), seed, 0.125f, kind);
  // Beside bf16 weights lie between two bf16 values: on a tie, which goes to the even one, or off it.
  if (s.x_type == RTFQ_BF16)
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] *= i % 3 == 0 ? 1.0f : i % 3 == 1 ? 1 + 0x1p-8f : 1 + 0x1.8p-9f;
  void* data = add_typed(problem, s.w_type, c.parent_size());
  Floats seen(c.parent_size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    store(s.w_type, values[i], data, places[i]);
    seen[places[i]] = s.x_type == RTFQ_BF16 ? to_float(to_bf16(values[i])) : values[i];
  }
  problem->weights = data;
  problem->packed = &problem->args.packed;
  return seen;
}

std::unique_ptr<Problem<Conv2dDgrad>> dgrad(const Conv2dCase& c) {
  auto problem = std::make_unique<Problem<Conv2dDgrad>>();
  const auto s = problem->shape = with_types(c.shape(), RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  Floats g = integers(conv2d_count_y(s), 63, 0.5f);
  problem->args.g = add_operand(problem.get(), RTFQ_BF16, &g);
  const Floats w = add_weights(problem.get(), c, Data::random, 64);
  auto values = conv2d_reference_dgrad(s, g.data(), w.data());
  for (double& value : values) value = stored(RTFQ_BF16, value);
  problem->args.dx = add_typed(problem.get(), RTFQ_BF16, values.size());
  problem->expected.push_back(
      {.name = "dx", .buffer = problem->last(), .type = RTFQ_BF16, .values = std::move(values)});
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<Conv2dWgrad>> wgrad(const Conv2dCase& c, rtfq_dtype x_type, rtfq_dtype g_type,
                                            bool accumulate) {
  auto problem = std::make_unique<Problem<Conv2dWgrad>>();
  const auto s = problem->shape = with_types(c.shape(), x_type, RTFQ_F32, g_type);
  Floats x = x_type == RTFQ_BF16 ? integers(conv2d_count_x(s), 65, 1.0f)
                                 : codes(x_type, conv2d_count_x(s), 65, Data::random);
  problem->args.x = add_operand(problem.get(), x_type, &x);
  Floats g = integers(conv2d_count_y(s), 66, 0.5f);
  problem->args.g = add_operand(problem.get(), g_type, &g);
  // No power of two with codes: that the product is rounded before it is added shows.
  const float scale = x_type == RTFQ_BF16 ? 1.0f : 0.0371f;
  if (x_type != RTFQ_BF16) {
    float* held = problem->add<float>(1);
    *held = scale;
    problem->args.scale = held;
  }

  const std::size_t size = c.parent_size();
  const auto before = std::make_shared<const Floats>(integers(size, 67, 2.0f));
  const auto places = conv2d_slice(s);
  std::vector<double> sums(size, 0.0), values(before->begin(), before->end());
  conv2d_reference_wgrad(s, x.data(), g.data(), &sums);
  for (const std::size_t i : places) {
    const auto product =
        static_cast<float>(static_cast<double>(static_cast<float>(sums[i])) * static_cast<double>(scale));
    values[i] = accumulate ? (*before)[i] + product : product;
  }
  auto* dw = problem->add<float>(size);
  // The parent holds gradients all over; where they are to be overwritten it stays poisoned.
  auto kept = std::make_shared<std::vector<bool>>(size, true);
  if (!accumulate)
    for (const std::size_t i : places) (*kept)[i] = false;
  problem->restore = [=] {
    for (std::size_t i = 0; i < size; ++i)
      if ((*kept)[i]) dw[i] = (*before)[i];
  };
  problem->expected.push_back({.name = "dw", .buffer = problem->last(), .values = std::move(values)});
  problem->args.dw = dw;
  problem->args.accumulate = accumulate;
  problem->workspace = &problem->args.workspace;
  return problem;
}

}  // namespace

std::unique_ptr<Problem<Conv2dForward>> conv2d_exact_problem(const Conv2dCase& c, rtfq_dtype x_type,
                                                             rtfq_dtype w_type, rtfq_dtype y_type,
                                                             Data data) {
  auto problem = std::make_unique<Problem<Conv2dForward>>();
  const auto s = problem->shape = with_types(c.shape(), x_type, w_type, y_type);
  Floats x = w_type == RTFQ_F32 ? integers(conv2d_count_x(s), 61, 1.0f, data)
                                : codes(x_type, conv2d_count_x(s), 61, data);
  problem->args.x = add_operand(problem.get(), x_type, &x);
  const Floats w = add_weights(problem.get(), c, data, 62);
  auto values = conv2d_reference_forward(s, x.data(), w.data());
  const bool scaled = w_type == RTFQ_S8 && y_type != RTFQ_S32;
  if (scaled) {
    auto* scale = problem->add<float>(static_cast<std::size_t>(s.k));
    problem->args.scale = scale;
    scale_sums({scale, static_cast<std::size_t>(s.k)}, &values);
  }
  for (double& value : values) value = stored(y_type, value);
  problem->args.y = add_typed(problem.get(), y_type, values.size());
  problem->expected.push_back(
      {.name = "y", .buffer = problem->last(), .type = y_type, .values = std::move(values)});
  problem->workspace = &problem->args.workspace;
  return problem;
}

void add_conv2d_types(std::vector<Entry>* list, const Conv2dCase& c, bool large) {
  const auto name = [&](rtfq_dtype x, rtfq_dtype y, const char* suffix) {
    return std::string(c.name) + "_" + type_name(x) + "_" + type_name(y) + suffix;
  };
  const auto add_forward = [&](rtfq_dtype x, rtfq_dtype w, rtfq_dtype y, Data data = Data::random) {
    const char* suffix = data == Data::extreme ? "_extreme" : "";
    list->push_back(entry<Conv2dForward>(
        name(x, y, suffix), [=] { return conv2d_exact_problem(c, x, w, y, data); }, large));
  };
  const auto add_wgrad = [&](rtfq_dtype x, rtfq_dtype g, bool accumulate) {
    list->push_back(entry<Conv2dWgrad>(
        name(x, g, accumulate ? "_add" : ""), [=] { return wgrad(c, x, g, accumulate); }, large));
  };
  add_forward(RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  list->push_back(entry<Conv2dDgrad>(
      name(RTFQ_BF16, RTFQ_BF16, ""), [=] { return dgrad(c); }, large));
  add_wgrad(RTFQ_BF16, RTFQ_BF16, true);
  add_forward(RTFQ_U8, RTFQ_S8, RTFQ_BF16);
  add_wgrad(RTFQ_U8, RTFQ_BF16, true);
  add_forward(RTFQ_U8, RTFQ_S8, RTFQ_F32);
  if (large) return;
  add_wgrad(RTFQ_BF16, RTFQ_BF16, false);
  add_forward(RTFQ_U8, RTFQ_S8, RTFQ_S32);
  add_forward(RTFQ_U8, RTFQ_S8, RTFQ_S32, Data::extreme);
  add_forward(RTFQ_U8, RTFQ_S8, RTFQ_F32, Data::extreme);
  add_forward(RTFQ_S8, RTFQ_S8, RTFQ_F32);
  add_forward(RTFQ_S8, RTFQ_S8, RTFQ_BF16);
  add_forward(RTFQ_S8, RTFQ_S8, RTFQ_S32, Data::extreme);
  add_wgrad(RTFQ_U8, RTFQ_F32, true);
  add_wgrad(RTFQ_U8, RTFQ_BF16, false);
  add_wgrad(RTFQ_S8, RTFQ_BF16, true);
  add_wgrad(RTFQ_S8, RTFQ_F32, false);
}

}  // namespace rtfq::kernels::catalog
