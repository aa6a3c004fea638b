// Softmax and losses: normal logits, logits hundreds of deviations apart (where a softmax that forgets the
// row's maximum overflows), equal logits, and the temperatures of distillation.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/loss_reference.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

using reference::Values;

struct Case {
  std::string name;
  int64_t n, k;
  float deviation = 2, offset = 0;  ///< of the logits
  bool large = false;
  const CustomRequest* request = nullptr;  ///< whose data they are, if any
};

/// Results are f32 from double sums: half an ulp, and for gradients one addition.
constexpr double absolute = 1e-7, relative = 2e-7;

std::size_t size_of(const Case& c) {
  return static_cast<std::size_t>(c.n * c.k);
}
Values doubles(const float* x, std::size_t n) {
  return {x, x + n};
}

template <class Op>
float* add_logits(Problem<Op>& problem, const Case& c) {
  problem.shape = make_logits_shape(c.n, c.k);
  float* z = problem.template add<float>(size_of(c));
  c.request ? custom_parts::fill(*c.request, z, size_of(c), 61, c.offset, c.deviation)
            : fill_normal(z, size_of(c), 61, c.offset, c.deviation);
  return z;
}

/// Adds the outputs of a loss: its value, and its gradient times `weight` on top of what dz held.
template <class Op>
void add_outputs(Problem<Op>& problem, const Case& c, const reference::Loss& loss) {
  auto& a = problem.args;
  a.loss = problem.template add<float>(1);
  problem.expected.push_back({"loss", problem.last(), RTFQ_F32, {loss.loss}, absolute, relative});
  const auto old = std::make_shared<std::vector<float>>(size_of(c));
  fill_normal(old->data(), old->size(), 62, 0, 0.1f);
  Values dz;
  for (std::size_t i = 0; i < old->size(); ++i)
    dz.push_back(static_cast<double>((*old)[i]) + static_cast<double>(a.weight) * loss.gradient[i]);
  a.dz = problem.template add<float>(size_of(c));
  problem.expected.push_back({"dz", problem.last(), RTFQ_F32, std::move(dz), absolute, relative});
  problem.restore = [old, to = a.dz] { std::copy(old->begin(), old->end(), to); };
}

std::unique_ptr<Problem<Softmax>> softmax(const Case& c, float temperature) {
  auto problem = std::make_unique<Problem<Softmax>>();
  const float* z = add_logits(*problem, c);
  problem->args = {z, temperature, problem->add<float>(size_of(c))};
  // Probabilities far below 1 are compared by their own size.
  problem->expected.push_back({"probabilities", problem->last(), RTFQ_F32,
                               reference::softmax(doubles(z, size_of(c)), static_cast<std::size_t>(c.k),
                                                  static_cast<double>(temperature)),
                               1e-44, 1e-6});
  return problem;
}

enum class Mask { none, zeros_and_ones, all_zero, fractions };

std::unique_ptr<Problem<CrossEntropy>> cross_entropy(const Case& c, Mask kind, float smoothing,
                                                     float weight) {
  auto problem = std::make_unique<Problem<CrossEntropy>>();
  const float* z = add_logits(*problem, c);
  const auto n = static_cast<std::size_t>(c.n);
  int32_t* labels = problem->add<int32_t>(n);
  for (std::size_t i = 0; i < n; ++i)  // both ends of the range, then anything
    labels[i] = static_cast<int32_t>(i == 0   ? 0u
                                     : i == 1 ? c.k - 1
                                              : philox4x32(63, i, 0)[0] % static_cast<uint32_t>(c.k));
  float* mask = kind == Mask::none ? nullptr : problem->add<float>(n);
  for (std::size_t i = 0; mask && i < n; ++i)
    mask[i] = kind == Mask::all_zero         ? 0.0f
              : kind == Mask::zeros_and_ones ? static_cast<float>(i % 3 > 0)
                                             : 0.25f * static_cast<float>(i % 5);
  problem->args = {z, labels, mask, smoothing, weight, nullptr, nullptr};
  add_outputs(
      *problem, c,
      reference::cross_entropy(doubles(z, size_of(c)), static_cast<std::size_t>(c.k), {labels, labels + n},
                               mask ? doubles(mask, n) : Values{}, static_cast<double>(smoothing)));
  return problem;
}

/// `mass`: what each row of targets sums to. Other than 1 it tells apart gradients that assume it from those
/// of the formula.
std::unique_ptr<Problem<SoftCrossEntropy>> soft_cross_entropy(const Case& c, float teacher_temperature,
                                                              float temperature, float weight,
                                                              double mass = 1) {
  auto problem = std::make_unique<Problem<SoftCrossEntropy>>();
  const float* z = add_logits(*problem, c);
  Values teacher(size_of(c));
  std::vector<float> logits(size_of(c));
  fill_normal(logits.data(), logits.size(), 64);
  std::copy(logits.begin(), logits.end(), teacher.begin());
  const Values probabilities =
      reference::softmax(teacher, static_cast<std::size_t>(c.k), static_cast<double>(teacher_temperature));
  float* targets = problem->add<float>(size_of(c));
  std::transform(probabilities.begin(), probabilities.end(), targets,
                 [=](double p) { return static_cast<float>(mass * p); });
  problem->args = {z, targets, temperature, weight, nullptr, nullptr};
  add_outputs(*problem, c,
              reference::soft_cross_entropy(doubles(z, size_of(c)), static_cast<std::size_t>(c.k),
                                            doubles(targets, size_of(c)), static_cast<double>(temperature)));
  return problem;
}

std::unique_ptr<Problem<MeanPrediction>> mean_prediction(const Case& c) {
  auto problem = std::make_unique<Problem<MeanPrediction>>();
  const float* z = add_logits(*problem, c);
  problem->args = {z, problem->add<float>(static_cast<std::size_t>(c.k))};
  problem->expected.push_back(
      {"mean", problem->last(), RTFQ_F32,
       reference::mean_prediction(doubles(z, size_of(c)), static_cast<std::size_t>(c.k)), 1e-44, 1e-6});
  return problem;
}

/// `other_ranks`: the mean is not that of these rows alone. `with_prior`: the classes' shares grow evenly.
std::unique_ptr<Problem<InformationMaximization>> information_maximization(const Case& c, bool other_ranks,
                                                                           float weight, bool with_prior) {
  auto problem = std::make_unique<Problem<InformationMaximization>>();
  const float* z = add_logits(*problem, c);
  const auto k = static_cast<std::size_t>(c.k);
  const Values own = reference::mean_prediction(doubles(z, size_of(c)), k);
  float* mean = problem->add<float>(k);
  for (std::size_t j = 0; j < k; ++j)
    mean[j] = static_cast<float>(other_ranks ? 0.5 * own[j] + 0.5 * own[k - 1 - j] : own[j]);
  float* prior = with_prior ? problem->add<float>(k) : nullptr;
  for (std::size_t j = 0; with_prior && j < k; ++j)
    prior[j] = static_cast<float>(2 * (j + 1)) / static_cast<float>(k * (k + 1));
  problem->args = {z, mean, weight, nullptr, nullptr, prior};
  add_outputs(*problem, c,
              reference::information_maximization(doubles(z, size_of(c)), k, doubles(mean, k),
                                                  prior ? doubles(prior, k) : Values{}));
  return problem;
}

std::unique_ptr<Problem<ClassConfusion>> class_confusion(const Case& c, float temperature, float weight) {
  auto problem = std::make_unique<Problem<ClassConfusion>>();
  const float* z = add_logits(*problem, c);
  problem->args = {z, temperature, weight, nullptr, nullptr};
  problem->workspace = &problem->args.workspace;
  const Values logits = doubles(z, size_of(c));
  const auto k = static_cast<std::size_t>(c.k);
  const double t = static_cast<double>(temperature);
  add_outputs(*problem, c,
              reference::class_confusion(logits, k, t, reference::confusion_weights(logits, k, t)));
  return problem;
}

}  // namespace

std::vector<Entry> loss_entries() {
  const std::vector<Case> cases{{"1x2", 1, 2},
                                {"3x10", 3, 10},
                                {"32x31", 32, 31},
                                {"100x65", 100, 65},  // shared out to threads, more rows than parts
                                {"64x345", 64, 345},
                                {"3x1500", 3, 1500},
                                {"8x10_far_apart", 8, 10, 500},
                                {"8x10_offset", 8, 10, 1, 3000},
                                {"8x10_equal", 8, 10, 0, 7},
                                {"256x345", 256, 345, 2, 0, true}};
  std::vector<Entry> list;
  for (const Case& c : cases) {
    for (const float t : {1.0f, 0.04f, 4.0f})
      list.push_back(entry<Softmax>(
          c.name + "_at_" + std::to_string(t).substr(0, 4), [=] { return softmax(c, t); }, c.large));
    list.push_back(entry<CrossEntropy>(
        c.name, [=] { return cross_entropy(c, Mask::none, 0, 1); }, c.large));
    list.push_back(entry<CrossEntropy>(
        c.name + "_smoothed", [=] { return cross_entropy(c, Mask::none, 0.1f, 15); }, c.large));
    list.push_back(entry<CrossEntropy>(
        c.name + "_masked", [=] { return cross_entropy(c, Mask::zeros_and_ones, 0, 0.1f); }, c.large));
    list.push_back(entry<SoftCrossEntropy>(
        c.name + "_sharp", [=] { return soft_cross_entropy(c, 0.04f, 0.1f, 1); }, c.large));
    list.push_back(entry<SoftCrossEntropy>(
        c.name, [=] { return soft_cross_entropy(c, 1, 1, 0.5f); }, c.large));
    list.push_back(entry<MeanPrediction>(
        c.name, [=] { return mean_prediction(c); }, c.large));
    list.push_back(entry<InformationMaximization>(
        c.name, [=] { return information_maximization(c, false, 1, false); }, c.large));
    list.push_back(entry<InformationMaximization>(
        c.name + "_other_ranks", [=] { return information_maximization(c, true, 0.3f, false); }, c.large));
    list.push_back(entry<InformationMaximization>(
        c.name + "_prior", [=] { return information_maximization(c, true, 1, true); }, c.large));
    // Logits so far apart leave classes without any probability, where the formula has no value.
    if (c.deviation < 100)
      list.push_back(entry<ClassConfusion>(
          c.name, [=] { return class_confusion(c, 2.5f, 0.7f); }, c.large));
  }
  const Case some{"16x12", 16, 12};
  list.push_back(entry<SoftCrossEntropy>("16x12_rows_of_half",
                                         [=] { return soft_cross_entropy(some, 1, 0.5f, 1, 0.5); }));
  const Case absent{"8x10_classes_absent", 8, 10,
                    1e6f};  // all probabilities are 0 or 1, and 10 classes have 8 rows
  list.push_back(entry<ClassConfusion>(absent.name, [=] { return class_confusion(absent, 2.5f, 0.7f); }));
  list.push_back(
      entry<CrossEntropy>("16x12_all_masked", [=] { return cross_entropy(some, Mask::all_zero, 0.1f, 1); }));
  list.push_back(entry<CrossEntropy>("16x12_weighted_rows",
                                     [=] { return cross_entropy(some, Mask::fractions, 0.3f, 2); }));
  list.push_back(
      entry<CrossEntropy>("16x12_uniform_target", [=] { return cross_entropy(some, Mask::none, 1, 1); }));
  return list;
}

std::unique_ptr<Instance> custom_parts::loss(const CustomRequest& request) {
  Dims dims(request);
  Case c{"custom", dims.need("n"), dims.need("k")};
  dims.finish();
  if (request.type != RTFQ_F32) refuse(request, "operands are f32");
  c.request = &request;
  if (request.op == "softmax") return instance_of(softmax(c, 1));
  if (request.op == "loss.cross_entropy") return instance_of(cross_entropy(c, Mask::none, 0, 1));
  if (request.op == "loss.soft_cross_entropy") return instance_of(soft_cross_entropy(c, 1, 1, 1));
  if (request.op == "loss.mean_prediction") return instance_of(mean_prediction(c));
  if (request.op == "loss.information_maximization")
    return instance_of(information_maximization(c, false, 1, false));
  return instance_of(class_confusion(c, 2.5f, 1));
}

}  // namespace rtfq::kernels::catalog
