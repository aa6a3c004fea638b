// Convolutions of f32 whose operands are rounded to TF32 on their way to the product, met exactly: small
// integers and values beside them that round to a neighbour with 10 bits of fraction, of which a product has
// one, so that every sum is exact in f32 in any order.
#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/tf32.h"

namespace rtfq::kernels::catalog {
namespace {

using Floats = std::vector<float>;

/// Small integers times `scale`. Those that `is_off` picks lie between two values of TF32: on a tie, which
/// goes away from zero, or on either side of one.
template <class IsOff>
Floats operand(std::size_t count, uint64_t seed, float scale, const IsOff& is_off) {
  Floats x(count);
  fill_exact(x.data(), count, seed, 4, scale);
  constexpr float beside[] = {1 + 0x1p-11f, 1 + 0x1.8p-12f, 1 - 0x1p-13f, 1 + 0x1.4p-11f};
  for (std::size_t i = 0; i < count; ++i)
    if (is_off(i)) x[i] *= beside[i % 4];
  return x;
}

Floats rounded(Floats x) {
  for (float& value : x) value = round_to_tf32(value);
  return x;
}

template <class Op>
float* add_floats(Problem<Op>* problem, const Floats& values) {
  float* data = problem->template add<float>(values.size());
  std::copy(values.begin(), values.end(), data);
  return data;
}

/// Adds the parent's weights, poisoned outside the slice, and returns them as the product sees them.
template <class Op>
Floats add_weights(Problem<Op>* problem, const Conv2dCase& c, const Floats& slice) {
  float* data = problem->template add<float>(c.parent_size());
  Floats seen(c.parent_size());
  const auto places = conv2d_slice(problem->shape);
  for (std::size_t i = 0; i < places.size(); ++i) {
    data[places[i]] = slice[i];
    seen[places[i]] = round_to_tf32(slice[i]);
  }
  problem->weights = data;
  problem->packed = &problem->args.packed;
  problem->workspace = &problem->args.workspace;
  problem->tf32 = true;
  return seen;
}

/// x is off in even channels, the weights in odd ones.
std::unique_ptr<Problem<Conv2dForward>> forward(const Conv2dCase& c) {
  auto problem = std::make_unique<Problem<Conv2dForward>>();
  const auto s = problem->shape = c.shape();
  const auto channels = static_cast<std::size_t>(s.c);
  const Floats x = operand(conv2d_count_x(s), 71, 1.0f, [=](std::size_t i) { return i % channels % 2 == 0; });
  problem->args.x = add_floats(problem.get(), x);
  const auto weights = static_cast<std::size_t>(s.k * s.r * s.s * s.c);
  const Floats w = add_weights(
      problem.get(), c, operand(weights, 72, 0.125f, [=](std::size_t i) { return i % channels % 2 == 1; }));
  auto values = conv2d_reference_forward(s, rounded(x).data(), w.data());
  problem->args.y = problem->add<float>(values.size());
  problem->expected.push_back({.name = "y", .buffer = problem->last(), .values = std::move(values)});
  return problem;
}

/// g is off in even channels, the weights of odd ones.
std::unique_ptr<Problem<Conv2dDgrad>> dgrad(const Conv2dCase& c) {
  auto problem = std::make_unique<Problem<Conv2dDgrad>>();
  const auto s = problem->shape = c.shape();
  const auto channels = static_cast<std::size_t>(s.k), filter = static_cast<std::size_t>(s.r * s.s * s.c);
  const Floats g = operand(conv2d_count_y(s), 73, 0.5f, [=](std::size_t i) { return i % channels % 2 == 0; });
  problem->args.g = add_floats(problem.get(), g);
  const Floats w =
      add_weights(problem.get(), c,
                  operand(channels * filter, 74, 0.125f, [=](std::size_t i) { return i / filter % 2 == 1; }));
  auto values = conv2d_reference_dgrad(s, rounded(g).data(), w.data());
  problem->args.dx = problem->add<float>(values.size());
  problem->expected.push_back({.name = "dx", .buffer = problem->last(), .values = std::move(values)});
  return problem;
}

/// Added to a gradient, x is off; where one is overwritten, g.
std::unique_ptr<Problem<Conv2dWgrad>> wgrad(const Conv2dCase& c, bool accumulate) {
  auto problem = std::make_unique<Problem<Conv2dWgrad>>();
  const auto s = problem->shape = c.shape();
  const auto all = [](bool off) { return [off](std::size_t) { return off; }; };
  const Floats x = operand(conv2d_count_x(s), 75, 1.0f, all(accumulate));
  const Floats g = operand(conv2d_count_y(s), 76, 0.5f, all(!accumulate));
  problem->args.x = add_floats(problem.get(), x);
  problem->args.g = add_floats(problem.get(), g);

  const auto before = std::make_shared<const Floats>(operand(c.parent_size(), 77, 2.0f, all(false)));
  const auto places = conv2d_slice(s);
  std::vector<double> values(before->begin(), before->end());
  auto kept = std::make_shared<std::vector<bool>>(values.size(), true);
  if (!accumulate)
    for (const std::size_t i : places) {
      values[i] = 0;
      (*kept)[i] = false;
    }
  conv2d_reference_wgrad(s, rounded(x).data(), rounded(g).data(), &values);
  float* dw = problem->add<float>(values.size());
  // The parent holds gradients all over; where they are to be overwritten it stays poisoned.
  problem->restore = [=] {
    for (std::size_t i = 0; i < kept->size(); ++i)
      if ((*kept)[i]) dw[i] = (*before)[i];
  };
  problem->expected.push_back({.name = "dw", .buffer = problem->last(), .values = std::move(values)});
  problem->args.dw = dw;
  problem->args.accumulate = accumulate;
  problem->workspace = &problem->args.workspace;
  problem->tf32 = true;
  return problem;
}

}  // namespace

void add_conv2d_tf32(std::vector<Entry>* list, const Conv2dCase& c, bool large) {
  const std::string name = std::string(c.name) + "_tf32";
  list->push_back(entry<Conv2dForward>(
      name, [=] { return forward(c); }, large));
  list->push_back(entry<Conv2dDgrad>(
      name, [=] { return dgrad(c); }, large));
  list->push_back(entry<Conv2dWgrad>(
      name + "_add", [=] { return wgrad(c, true); }, large));
  if (!large)
    list->push_back(entry<Conv2dWgrad>(
        name, [=] { return wgrad(c, false); }, large));
}

}  // namespace rtfq::kernels::catalog
