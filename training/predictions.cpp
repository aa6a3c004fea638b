#include "training/predictions.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "training/losses.h"
#include "training/network.h"

namespace rtfq {
namespace {

Tensor probabilities_of(Supernet& network, const Subnet& subnet, Domain domain, const Tensor& largest,
                        NormMode mode) {
  Tape tape(false, network.stream());
  const Tensor images = ops::resize(network.stream(), largest, subnet.resolution, subnet.resolution);
  const BatchPart part{domain, images.dim(0)};
  return softmax(network.forward(tape, subnet, images, std::span(&part, 1), mode).data, 1.0).to({});
}

/// -sum p log p, where 0 log 0 = 0.
template <class T>
double entropy(std::span<const T> probabilities) {
  double sum = 0;
  for (const T p : probabilities)
    if (p > 0) sum -= static_cast<double>(p) * std::log(static_cast<double>(p));
  return sum;
}

std::span<const float> row(const Tensor& matrix, int64_t i) {
  return {matrix.as<float>() + i * matrix.dim(1), static_cast<std::size_t>(matrix.dim(1))};
}

int32_t largest_of(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

void predict(Supernet& network, const Subnet& subnet, Domain domain, PreparedImages& images,
             const VisitPredictions& visit) {
  images.each([&](const Tensor& largest, const data::Batch& batch) {
    visit(probabilities_of(network, subnet, domain, largest, NormMode::stored), batch);
  });
}

std::vector<int32_t> teacher_answers(Supernet& teacher, const Config& config, const data::Dataset& dataset) {
  PreparedImages images(config, dataset, Domain::target, PreparedImages::Order::shuffled);
  std::vector<int32_t> answers(dataset.samples.size(), -1);
  images.each([&](const Tensor& largest, const data::Batch& batch) {
    const Tensor p =
        probabilities_of(teacher, teaching_subnet(config), Domain::target, largest, NormMode::batch);
    for (int64_t i = 0; i < p.dim(0); ++i) {
      int32_t& answer = answers[batch.indices[static_cast<std::size_t>(i)]];
      if (answer < 0) answer = largest_of(row(p, i));
    }
  });
  return answers;
}

PredictionSummary summarize(Supernet& network, const Subnet& subnet, Domain domain, PreparedImages& images,
                            std::span<const int32_t> teacher) {
  PredictionSummary summary;
  std::vector<double> mean(static_cast<std::size_t>(network.options().classes));
  int64_t right = 0, labelled = 0, agreeing = 0, compared = 0;
  std::vector<int64_t> of_class(mean.size()), right_of_class(mean.size());
  predict(network, subnet, domain, images, [&](const Tensor& p, const data::Batch& batch) {
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      const auto probabilities = row(p, static_cast<int64_t>(i));
      const int32_t answer = largest_of(probabilities);
      summary.entropy += entropy(probabilities);
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += static_cast<double>(probabilities[k]);
      if (!batch.labels.empty()) {
        const auto label = static_cast<std::size_t>(batch.labels[i]);
        ++labelled, ++of_class[label];
        if (answer == batch.labels[i]) ++right, ++right_of_class[label];
      }
      const int32_t taught = teacher.empty() ? -1 : teacher[batch.indices[i]];
      if (taught >= 0) ++compared, agreeing += answer == taught;
      ++summary.images;
    }
  });
  if (summary.images == 0) throw std::runtime_error("[eval] not one image of the data set can be decoded");
  const auto count = static_cast<double>(summary.images);
  const auto percent = [](int64_t part, int64_t whole) -> std::optional<double> {
    if (whole == 0) return {};
    return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  };
  for (double& p : mean) p /= count;
  summary.entropy /= count;
  summary.mean_prediction_entropy = entropy(std::span<const double>(mean));
  summary.accuracy = percent(right, labelled);
  double classes = 0, sum = 0;
  for (std::size_t k = 0; k < of_class.size(); ++k)
    if (const auto share = percent(right_of_class[k], of_class[k])) ++classes, sum += *share;
  if (classes > 0) summary.class_accuracy = sum / classes;
  summary.teacher_agreement = percent(agreeing, compared);
  return summary;
}

}  // namespace rtfq
