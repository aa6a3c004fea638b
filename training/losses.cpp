#include "training/losses.h"

#include <algorithm>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/reducer.h"
#include "kernels/answers.h"
#include "kernels/loss.h"

namespace rtfq {
namespace {

int32_t arg_max(const float* row, int64_t k) {
  return static_cast<int32_t>(std::max_element(row, row + k) - row);
}

}  // namespace

Tensor softmax(const Tensor& logits, double temperature) {
  Tensor probabilities = Tensor::empty(logits.dims(), DType::f32, logits.device());
  ops::launch<kernels::Softmax>(
      compute_stream(logits.device()), kernels::make_logits_shape(logits.dim(0), logits.dim(1)),
      {logits.as<float>(), static_cast<float>(temperature), probabilities.as<float>()});
  return probabilities;
}

double percent_right(const Tensor& logits, std::span<const int32_t> labels) {
  const std::vector<float> z = logits.to_vector();
  const int64_t k = logits.dim(1);
  if (static_cast<int64_t>(labels.size()) != logits.dim(0))
    throw std::logic_error("[accuracy] one label a row expected");
  int64_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    right += arg_max(z.data() + static_cast<int64_t>(i) * k, k) == labels[i];
  return 100.0 * static_cast<double>(right) / static_cast<double>(labels.size());
}

void require_labels(std::span<const int32_t> labels, int64_t rows, int64_t classes) {
  if (static_cast<int64_t>(labels.size()) != rows)
    throw std::invalid_argument("[loss] expected " + std::to_string(rows) + " labels, got " +
                                std::to_string(labels.size()));
  for (int32_t label : labels)
    if (label < 0 || label >= classes)
      throw std::invalid_argument("[loss] label " + std::to_string(label) + " is not among " +
                                  std::to_string(classes) + " classes");
}

PassLoss::PassLoss(const Tensor& logits, int64_t source_rows, Tensor losses)
    : logits_(logits),
      gradient_(Tensor::zeros(logits.dims(), DType::f32, logits.device())),
      losses_(losses.defined() ? std::move(losses)
                               : Tensor::empty({most_terms}, DType::f32, logits.device())),
      source_rows_(source_rows),
      stream_(compute_stream(logits.device())) {
  if (source_rows < 0 || source_rows > logits.dim(0))
    throw std::invalid_argument("[loss] " + std::to_string(source_rows) + " source rows of " +
                                to_string(logits.dims()));
}

float* PassLoss::add(const std::string& term, double weight) {
  if (static_cast<int64_t>(terms_.size()) == most_terms)
    throw std::logic_error("[loss] a pass has at most " + std::to_string(most_terms) + " terms");
  terms_.push_back({term, weight});
  values_.clear();
  return losses_.as<float>() + terms_.size() - 1;
}

const std::vector<float>& PassLoss::values() const {
  if (values_.empty()) values_ = losses_.to_vector();
  return values_;
}

std::map<std::string, double> PassLoss::terms() const {
  std::map<std::string, double> all;
  if (terms_.empty()) return all;
  for (std::size_t i = 0; i < terms_.size(); ++i) all[terms_[i].name] += static_cast<double>(values()[i]);
  return all;
}

double PassLoss::total() const {
  double sum = 0;
  for (std::size_t i = 0; i < terms_.size(); ++i) sum += terms_[i].weight * static_cast<double>(values()[i]);
  return sum;
}

void PassLoss::source(std::span<const int32_t> labels, double smoothing, double weight) {
  require_labels(labels, source_rows_, logits_.dim(1));
  source(Tensor::from(labels, {source_rows_}, logits_.device()), smoothing, weight);
}

void PassLoss::source(const Tensor& labels, double smoothing, double weight) {
  ops::launch<kernels::CrossEntropy>(
      stream_, kernels::make_logits_shape(source_rows_, logits_.dim(1)),
      {logits_.as<float>(), labels.as<int32_t>(), nullptr, static_cast<float>(smoothing),
       static_cast<float>(weight), add("source", weight), gradient_.as<float>()});
}

void PassLoss::pseudo_labels(const Tensor& probabilities, double threshold, double weight) {
  const auto [begin, count] = target();
  const Tensor rows = logits_.slice(0, begin, count);
  if (probabilities.defined()) require_probabilities("pseudo_label", target(), probabilities);
  const Tensor p = probabilities.defined() ? probabilities : softmax(rows, 1.0);
  const Tensor labels = Tensor::empty({count}, DType::s32, logits_.device()),
               mask = Tensor::empty({count}, DType::f32, logits_.device());
  const auto shape = kernels::make_logits_shape(count, logits_.dim(1));
  ops::launch<kernels::PseudoLabels>(stream_, shape,
                                     {p.as<float>(), threshold, labels.as<int32_t>(), mask.as<float>()});
  ops::launch<kernels::CrossEntropy>(
      stream_, shape,
      {rows.as<float>(), labels.as<int32_t>(), mask.as<float>(), 0.0f, static_cast<float>(weight),
       add("pseudo_label", weight), gradient_.slice(0, begin, count).as<float>()});
}

Tensor PassLoss::information_maximization(double weight, const Tensor& average, double decay,
                                          const Tensor& prior) {
  const auto [begin, count] = target();
  const int64_t k = logits_.dim(1);
  const auto shape = kernels::make_logits_shape(count, k);
  const Tensor rows = logits_.slice(0, begin, count);
  Tensor mean = Tensor::empty({k}, DType::f32, logits_.device());
  ops::launch<kernels::MeanPrediction>(stream_, shape, {rows.as<float>(), mean.as<float>()});
  const auto blend = [&](const Tensor& a, double keep, double divisor) {
    ops::launch<kernels::Blend>(stream_, {k},
                                {a.as<float>(), mean.as<float>(), keep, divisor, mean.as<float>()});
  };
  if (reducer().ranks() > 1) {
    sum_over_ranks(mean);
    blend(mean, 0, reducer().ranks());
  }
  if (average.defined()) blend(average, decay, 1);
  ops::launch<kernels::InformationMaximization>(
      stream_, shape,
      {rows.as<float>(), mean.as<float>(), static_cast<float>(weight), add("information", weight),
       gradient_.slice(0, begin, count).as<float>(), prior.defined() ? prior.as<float>() : nullptr});
  return mean;
}

void PassLoss::class_confusion(double temperature, double weight) {
  const auto [begin, count] = target();
  ops::launch<kernels::ClassConfusion>(
      stream_, kernels::make_logits_shape(count, logits_.dim(1)),
      {logits_.slice(0, begin, count).as<float>(), static_cast<float>(temperature),
       static_cast<float>(weight), add("confusion", weight), gradient_.slice(0, begin, count).as<float>()});
}

void PassLoss::require_probabilities(const std::string& term, Rows rows, const Tensor& probabilities) const {
  const Dims expected{rows.count, logits_.dim(1)};
  if (probabilities.dims() != expected)
    throw std::invalid_argument("[loss] " + term + " expects probabilities " + to_string(expected) +
                                ", got " + to_string(probabilities.dims()));
}

void PassLoss::soft(const std::string& term, Rows rows, const Tensor& probabilities, double temperature,
                    double weight) {
  require_probabilities(term, rows, probabilities);
  ops::launch<kernels::SoftCrossEntropy>(
      stream_, kernels::make_logits_shape(rows.count, logits_.dim(1)),
      {logits_.slice(0, rows.begin, rows.count).as<float>(), probabilities.as<float>(),
       static_cast<float>(temperature), static_cast<float>(weight), add(term, weight),
       gradient_.slice(0, rows.begin, rows.count).as<float>()});
}

void PassLoss::distillation(const Tensor& probabilities, double temperature, double weight) {
  soft("distillation", target(), probabilities, temperature, weight);
}

void PassLoss::joint(const Tensor& probabilities, double temperature, double weight) {
  soft("joint", {0, logits_.dim(0)}, probabilities, temperature, weight);
}

}  // namespace rtfq
