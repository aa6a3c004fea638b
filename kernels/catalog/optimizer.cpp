// The optimizer: small integers with rates and momenta that are powers of two are met exactly; then normal
// data, and step sizes that must stay positive. Tensors are of very different sizes, as a network's are.
#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

using Sizes = std::vector<int64_t>;

int64_t total(const Sizes& sizes) {
  int64_t sum = 0;
  for (const int64_t size : sizes) sum += size;
  return sum;
}

/// A buffer that launches update: its first contents, restored before each verification.
struct Update {
  std::shared_ptr<std::vector<float>> first;
  float* data;
  std::size_t buffer;
};

template <class Op>
Update add_update(Problem<Op>& problem, int64_t count, bool exact, uint64_t seed,
                  const CustomRequest* request = nullptr) {
  const auto n = static_cast<std::size_t>(count), drawn = std::min<std::size_t>(n, 65521);
  auto first = std::make_shared<std::vector<float>>(n);
  request ? custom_parts::fill(*request, first->data(), drawn, seed)
  : exact ? fill_exact(first->data(), drawn, seed, 40)
          : fill_normal(first->data(), drawn, seed);
  for (std::size_t i = drawn; i < n; ++i) (*first)[i] = (*first)[i - drawn];
  float* data = problem.template add<float>(n);
  std::copy(first->begin(), first->end(), data);
  return {first, data, problem.last()};
}

bool wants_reference(const CustomRequest* request) {
  return !request || request->reference;
}

template <class Op>
void restore_before(Problem<Op>& problem, std::vector<Update> updates) {
  problem.restore = [updates = std::move(updates)] {
    for (const Update& u : updates) std::copy(u.first->begin(), u.first->end(), u.data);
  };
}

struct SgdCase {
  std::string name;
  Sizes sizes;
  bool exact = true, nesterov = true;
  bool large = false;
  bool scale_in_memory = false;
  const CustomRequest* request = nullptr;  ///< whose data it has, if any
};

struct Hyper {
  double momentum, gradient_scale, limit, learning_rate, weight_decay;
};

/// One element of the header's rule in fp64.
void reference_sgd(const Hyper& h, bool nesterov, bool positive, double gradient, double& value,
                   double& momentum) {
  const double g = gradient * h.gradient_scale + h.weight_decay * value;
  momentum = h.momentum * momentum + g;
  const double direction = nesterov ? g + h.momentum * momentum : momentum;
  if (positive) {
    const double change = std::min(std::max(-h.learning_rate * direction / value, -h.limit), h.limit);
    value = std::max(value * std::exp(change), 0x1p-60);
  } else {
    value -= h.learning_rate * direction;
  }
}

/// With zeros between and behind its members: where a problem moves to a device, its tables are searched for
/// addresses word by word, and what happened to stand there might look like one.
SgdTensor sgd_tensor(float* value, float* momentum, float* gradient, int64_t count, float rate, float decay,
                     bool positive) {
  SgdTensor t;
  std::memset(&t, 0, sizeof t);
  t.value = value;
  t.momentum = momentum;
  t.gradient = gradient;
  t.count = count;
  t.learning_rate = rate;
  t.weight_decay = decay;
  t.positive = positive;
  return t;
}

std::unique_ptr<Problem<Sgd>> sgd(const SgdCase& c) {
  auto problem = std::make_unique<Problem<Sgd>>();
  problem->shape = {total(c.sizes)};
  const auto tensors = problem->table<SgdTensor>();
  const float gradient_scale = c.exact ? 0.25f : 0.37f;
  problem->args = {{}, c.exact ? 0.5f : 0.9f, gradient_scale, 0.5f, c.nesterov};
  if (c.scale_in_memory) {
    float* scale = problem->add<float>(1);
    *scale = gradient_scale;
    problem->args.scale = scale;
    problem->args.gradient_scale = 1000;  // not used
  }
  std::vector<Update> updates;
  for (std::size_t t = 0; t < c.sizes.size(); ++t) {
    const int64_t n = c.sizes[t];
    // Rates differ between tensors, decay is off for some.
    const float rate =
        c.exact ? std::ldexp(1.0f, -1 - static_cast<int>(t % 3)) : 0.013f * static_cast<float>(1 + t % 3);
    const float decay = t % 4 == 3 ? 0.0f : c.exact ? 0.125f : 1e-3f;
    // Every fifth tensor holds step sizes; their rule is not exact in any data. Only small tensors do: there
    // is one a tensor or a channel, and a network's are timed too.
    const bool positive = !c.exact && t % 5 == 2 && n <= 4096;
    const Update value = add_update(*problem, n, c.exact, 71 + 3 * t, c.request),
                 momentum = add_update(*problem, n, c.exact, 72 + 3 * t, c.request),
                 gradient = add_update(*problem, n, c.exact, 73 + 3 * t, c.request);
    // Some at the least step, some far above, so that changes are clamped, or are not. Between the two a
    // change whose terms cancel has an error of rate / value roundings of those terms, beyond any tolerance
    // that is relative to the value.
    if (positive)
      for (std::size_t i = 0; i < value.first->size(); ++i)
        (*value.first)[i] = i % 7 == 0 ? 0x1p-60f : std::max(0.25f, std::exp(2 * (*value.first)[i]));
    for (const Update& u : {value, momentum, gradient}) updates.push_back(u);
    tensors->push_back(sgd_tensor(value.data, momentum.data, gradient.data, n, rate, decay, positive));
    std::vector<double> values, momenta, zeros;
    if (wants_reference(c.request)) {
      const Hyper h{static_cast<double>(problem->args.momentum), static_cast<double>(gradient_scale), 0.5,
                    static_cast<double>(rate), static_cast<double>(decay)};
      values.assign(value.first->begin(), value.first->end());
      momenta.assign(momentum.first->begin(), momentum.first->end());
      for (std::size_t i = 0; i < values.size(); ++i)
        reference_sgd(h, c.nesterov, positive, static_cast<double>((*gradient.first)[i]), values[i],
                      momenta[i]);
      zeros.resize(values.size());
    }
    const std::string which = std::string("[").append(std::to_string(t)).append("]");
    const double relative = c.exact ? 0 : positive ? 4e-7 : 2e-7, absolute = c.exact || positive ? 0 : 2e-7;
    problem->expected.push_back(
        {"value" + which, value.buffer, RTFQ_F32, std::move(values), absolute, relative});
    problem->expected.push_back({"momentum" + which, momentum.buffer, RTFQ_F32, std::move(momenta),
                                 c.exact ? 0 : 2e-7, c.exact ? 0 : 2e-7});
    problem->expected.push_back({"gradient" + which, gradient.buffer, RTFQ_F32, std::move(zeros)});
  }
  problem->args.tensors = *tensors;
  restore_before(*problem, std::move(updates));
  problem->restore();
  return problem;
}

std::unique_ptr<Problem<MovingAverage>> moving_average(const Sizes& sizes, bool exact, float decay,
                                                       const CustomRequest* request = nullptr) {
  auto problem = std::make_unique<Problem<MovingAverage>>();
  problem->shape = {total(sizes)};
  const auto tensors = problem->table<AverageTensor>();
  std::vector<Update> updates;
  for (std::size_t t = 0; t < sizes.size(); ++t) {
    const Update average = add_update(*problem, sizes[t], exact, 81 + 2 * t, request),
                 value = add_update(*problem, sizes[t], exact, 82 + 2 * t, request);
    updates.push_back(average);
    tensors->push_back({average.data, value.data, sizes[t]});
    std::vector<double> expected;
    for (std::size_t i = 0; wants_reference(request) && i < average.first->size(); ++i)
      expected.push_back(static_cast<double>(decay) * static_cast<double>((*average.first)[i]) +
                         (1 - static_cast<double>(decay)) * static_cast<double>((*value.first)[i]));
    problem->expected.push_back({"average[" + std::to_string(t) + "]", average.buffer, RTFQ_F32,
                                 std::move(expected), exact ? 0 : 2e-7, exact ? 0 : 2e-7});
  }
  problem->args = {*tensors, decay};
  restore_before(*problem, std::move(updates));
  return problem;
}

std::unique_ptr<Problem<SquaredNorm>> squared_norm(const Sizes& sizes, bool exact,
                                                   const CustomRequest* request = nullptr) {
  auto problem = std::make_unique<Problem<SquaredNorm>>();
  problem->shape = {total(sizes)};
  const auto tensors = problem->table<SgdTensor>();
  double sum = 0, lost = 0;  // what each addition rounded off (Neumaier; the squares are exact)
  for (std::size_t t = 0; t < sizes.size(); ++t) {
    const Update gradient = add_update(*problem, sizes[t], exact, 91 + t, request);
    for (const float g : *gradient.first) {
      const double square = static_cast<double>(g) * static_cast<double>(g), before = sum;
      sum += square;
      lost += before >= square ? (before - sum) + square : (square - sum) + before;
    }
    tensors->push_back(sgd_tensor(nullptr, nullptr, gradient.data, sizes[t], 0, 0, false));
  }
  problem->args = {*tensors, problem->add<double>(1)};
  problem->workspace = &problem->args.workspace;
  problem->expected.push_back({"out", problem->last(), RTFQ_F32, {sum + lost}, 0, exact ? 0 : 1e-12, true});
  return problem;
}

std::unique_ptr<Problem<ClipScale>> clip_scale(double squares, double scale, double limit) {
  auto problem = std::make_unique<Problem<ClipScale>>();
  problem->shape = {1};
  double* in = problem->add<double>(1);
  *in = squares;
  float* out = problem->add<float>(1);
  const double norm = std::sqrt(squares) * scale;
  const double expected = limit > 0 && norm > limit ? scale * (limit / norm) : scale;
  problem->args = {in, scale, limit, out};
  problem->expected.push_back(
      {"out", problem->last(), RTFQ_F32, {static_cast<double>(static_cast<float>(expected))}});
  return problem;
}

/// The tensors of an ImageNet ResNet: convolutions with scale, shift and step sizes of weights and result,
/// and the classifier.
Sizes resnet(const std::vector<int>& blocks, bool bottleneck) {
  Sizes sizes;
  const auto conv = [&](int64_t filter, int64_t c, int64_t k) {
    sizes.insert(sizes.end(), {filter * filter * c * k, k, k, 1, 1});
  };
  conv(7, 3, 64);
  int64_t c = 64, width = 64;
  for (const int count : blocks) {
    for (int block = 0; block < count; ++block) {
      const int64_t k = bottleneck ? 4 * width : width;
      if (block == 0 && c != k) conv(1, c, k);
      conv(bottleneck ? 1 : 3, c, width);
      conv(3, width, width);
      if (bottleneck) conv(1, width, k);
      c = k;
    }
    width *= 2;
  }
  sizes.insert(sizes.end(), {c * 1000, 1000});
  return sizes;
}

}  // namespace

std::vector<Entry> optimizer_entries() {
  // Below and beyond the size that wakes other threads; tails of every length.
  const Sizes few{1, 7, 8, 9, 33, 250, 64},
      many{40000, 1, 2, 3, 4, 5, 6, 70003, 17, 15, 1024, 1, 1, 1, 12345};
  std::vector<Entry> list;
  for (const bool exact : {true, false}) {
    const std::string kind = exact ? "" : "_random";
    for (const auto& [name, sizes] : {std::pair{"few", few}, std::pair{"many", many}}) {
      for (const bool nesterov : {true, false}) {
        const SgdCase c{name + kind + (nesterov ? "" : "_plain_momentum"), sizes, exact, nesterov};
        list.push_back(entry<Sgd>(c.name, [=] { return sgd(c); }));
      }
      for (const float decay : {0.5f, 0.0f, 1.0f})
        list.push_back(
            entry<MovingAverage>(name + kind + "_" + std::to_string(decay).substr(0, 3),
                                 [=, sizes = sizes] { return moving_average(sizes, exact, decay); }));
      list.push_back(
          entry<SquaredNorm>(name + kind, [=, sizes = sizes] { return squared_norm(sizes, exact); }));
    }
  }
  list.push_back(
      entry<MovingAverage>("many_random_0.6561", [=] { return moving_average(many, false, 0.6561f); }));
  list.push_back(entry<Sgd>("few_scale_in_memory", [=] { return sgd({"", few, true, true, false, true}); }));
  list.push_back(entry<ClipScale>("above", [] { return clip_scale(1234.5, 0.25, 3.0); }));
  list.push_back(entry<ClipScale>("below", [] { return clip_scale(12.5, 0.3, 3.0); }));
  list.push_back(entry<ClipScale>("no_limit", [] { return clip_scale(1e12, 0.3, 0); }));
  const std::pair<std::string, Sizes> networks[] = {{"resnet18", resnet({2, 2, 2, 2}, false)},
                                                    {"resnet50", resnet({3, 4, 6, 3}, true)}};
  for (const auto& [name, sizes] : networks) {
    const SgdCase large{name, sizes, false, true, true};
    list.push_back(entry<Sgd>(
        name, [=] { return sgd(large); }, true));
    list.push_back(entry<MovingAverage>(
        name, [=, sizes = sizes] { return moving_average(sizes, false, 0.6561f); }, true));
    list.push_back(entry<SquaredNorm>(
        name, [=, sizes = sizes] { return squared_norm(sizes, false); }, true));
  }
  return list;
}

std::unique_ptr<Instance> custom_parts::optimizer(const CustomRequest& request) {
  Dims dims(request);
  const int64_t count = dims.need("count"), tensors = dims.get("tensors", 1);
  dims.finish();
  if (request.type != RTFQ_F32) refuse(request, "operands are f32");
  if (tensors > count) refuse(request, "expected at least one element a tensor");
  Sizes sizes;
  for (int64_t t = 0; t < tensors; ++t) sizes.push_back(count * (t + 1) / tensors - count * t / tensors);
  if (request.op == "optimizer.sgd") {
    SgdCase c{"custom", std::move(sizes), false};
    c.request = &request;
    return instance_of(sgd(c));
  }
  if (request.op == "optimizer.moving_average")
    return instance_of(moving_average(sizes, false, 0.6561f, &request));
  return instance_of(squared_norm(sizes, false, &request));
}

}  // namespace rtfq::kernels::catalog
