#include "training/losses.h"

#include <algorithm>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/reducer.h"
#include "kernels/loss.h"

namespace rtfq {
namespace {

int32_t arg_max(const float* row, int64_t k) {
  return static_cast<int32_t>(std::max_element(row, row + k) - row);
}

}  // namespace

Tensor softmax(const Tensor& logits, double temperature, Stream stream) {
  Tensor probabilities = Tensor::empty(logits.dims(), DType::f32, logits.device());
  ops::launch<kernels::Softmax>(
      stream, kernels::make_logits_shape(logits.dim(0), logits.dim(1)),
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

PassLoss::PassLoss(const Tensor& logits, int64_t source_rows, Stream stream)
    : logits_(logits), gradient_(Tensor::zeros(logits.dims())), source_rows_(source_rows), stream_(stream) {
  if (source_rows < 0 || source_rows > logits.dim(0))
    throw std::invalid_argument("[loss] " + std::to_string(source_rows) + " source rows of " +
                                to_string(logits.dims()));
}

void PassLoss::add(const std::string& term, double loss, double weight) {
  terms_[term] += loss;
  total_ += weight * loss;
}

void PassLoss::source(std::span<const int32_t> labels, double smoothing, double weight) {
  const int64_t k = logits_.dim(1);
  if (static_cast<int64_t>(labels.size()) != source_rows_)
    throw std::invalid_argument("[loss] expected " + std::to_string(source_rows_) + " labels, got " +
                                std::to_string(labels.size()));
  for (int32_t label : labels)
    if (label < 0 || label >= k)
      throw std::invalid_argument("[loss] label " + std::to_string(label) + " is not among " +
                                  std::to_string(k) + " classes");
  float loss = 0;
  ops::launch<kernels::CrossEntropy>(
      stream_, kernels::make_logits_shape(source_rows_, k),
      {logits_.as<float>(), labels.data(), nullptr, static_cast<float>(smoothing), static_cast<float>(weight),
       &loss, gradient_.as<float>()});
  add("source", loss, weight);
}

void PassLoss::pseudo_labels(const Tensor& probabilities, double threshold, double weight) {
  const auto [begin, count] = target();
  const int64_t k = logits_.dim(1);
  const Tensor rows = logits_.slice(0, begin, count);
  if (probabilities.defined()) require_probabilities("pseudo_label", target(), probabilities);
  const std::vector<float> p =
      (probabilities.defined() ? probabilities : softmax(rows, 1.0, stream_)).to_vector();
  std::vector<int32_t> labels;
  std::vector<float> mask;
  for (int64_t i = 0; i < count; ++i) {
    labels.push_back(arg_max(p.data() + i * k, k));
    mask.push_back(p[static_cast<std::size_t>(i * k + labels.back())] > threshold ? 1.0f : 0.0f);
  }
  float loss = 0;
  ops::launch<kernels::CrossEntropy>(
      stream_, kernels::make_logits_shape(count, k),
      {rows.as<float>(), labels.data(), mask.data(), 0.0f, static_cast<float>(weight), &loss,
       gradient_.slice(0, begin, count).as<float>()});
  add("pseudo_label", loss, weight);
}

std::vector<float> PassLoss::information_maximization(double weight, std::span<const float> average,
                                                      double decay, std::span<const float> prior) {
  const auto [begin, count] = target();
  const int64_t k = logits_.dim(1);
  const auto shape = kernels::make_logits_shape(count, k);
  const Tensor rows = logits_.slice(0, begin, count);
  std::vector<float> mean(static_cast<std::size_t>(k));
  ops::launch<kernels::MeanPrediction>(stream_, shape, {rows.as<float>(), mean.data()});
  reducer().sum(std::span<float>(mean));
  for (float& m : mean) m /= static_cast<float>(reducer().ranks());
  if (!average.empty())
    for (std::size_t j = 0; j < mean.size(); ++j)
      mean[j] = static_cast<float>(decay * average[j] + (1 - decay) * mean[j]);
  float loss = 0;
  ops::launch<kernels::InformationMaximization>(
      stream_, shape,
      {rows.as<float>(), mean.data(), static_cast<float>(weight), &loss,
       gradient_.slice(0, begin, count).as<float>(), prior.empty() ? nullptr : prior.data()});
  add("information", loss, weight);
  return mean;
}

void PassLoss::class_confusion(double temperature, double weight) {
  const auto [begin, count] = target();
  float loss = 0;
  ops::launch<kernels::ClassConfusion>(
      stream_, kernels::make_logits_shape(count, logits_.dim(1)),
      {logits_.slice(0, begin, count).as<float>(), static_cast<float>(temperature),
       static_cast<float>(weight), &loss, gradient_.slice(0, begin, count).as<float>()});
  add("confusion", loss, weight);
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
  float loss = 0;
  ops::launch<kernels::SoftCrossEntropy>(
      stream_, kernels::make_logits_shape(rows.count, logits_.dim(1)),
      {logits_.slice(0, rows.begin, rows.count).as<float>(), probabilities.as<float>(),
       static_cast<float>(temperature), static_cast<float>(weight), &loss,
       gradient_.slice(0, rows.begin, rows.count).as<float>()});
  add(term, loss, weight);
}

void PassLoss::distillation(const Tensor& probabilities, double temperature, double weight) {
  soft("distillation", target(), probabilities, temperature, weight);
}

void PassLoss::joint(const Tensor& probabilities, double temperature, double weight) {
  soft("joint", {0, logits_.dim(0)}, probabilities, temperature, weight);
}

}  // namespace rtfq
