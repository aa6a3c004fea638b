#include "training/evaluation.h"

#include "training/network.h"
#include "training/predictions.h"

namespace rtfq {

double accuracy(Supernet& network, const Subnet& subnet, Domain domain, const Config& config,
                const data::Dataset& dataset) {
  if (!dataset.labelled())
    throw std::invalid_argument("[eval] " + dataset.origin +
                                " has no labels: accuracy needs one subfolder a class, or a list "
                                "of `path label`");
  PreparedImages images(config, dataset, domain, PreparedImages::Order::as_listed);
  return *summarize(network, subnet, domain, images, {}).accuracy;
}

std::vector<SubnetScore> evaluate(Supernet& network, const Config& config, std::span<const Subnet> subnets,
                                  const data::Dataset* target, const data::Dataset* source,
                                  const Progress& progress, Supernet* teacher) {
  const auto prepared = [&](const data::Dataset* dataset, Domain domain) {
    return dataset
               ? std::make_unique<PreparedImages>(config, *dataset, domain, PreparedImages::Order::as_listed)
               : nullptr;
  };
  const auto on_target = prepared(target, Domain::target);
  const auto on_source = prepared(source && source->labelled() ? source : nullptr, Domain::source);
  std::vector<int32_t> taught;
  if (target && teacher) taught = teacher_answers(*teacher, config, *target);
  std::vector<SubnetScore> scores;
  for (const Subnet& subnet : subnets) {
    SubnetScore score{subnet, network.cost(subnet)};
    if (on_target) {
      const auto summary = summarize(network, subnet, inference_domain(config), *on_target, taught);
      score.accuracy = summary.accuracy;
      score.class_accuracy = summary.class_accuracy;
      score.entropy = summary.entropy;
      score.mean_prediction_entropy = summary.mean_prediction_entropy;
      score.teacher_agreement = summary.teacher_agreement;
    }
    if (on_source) {
      score.source_accuracy = summarize(network, subnet, Domain::source, *on_source, {}).accuracy;
      score.source_held_out = config.data.source_hold_out > 0;
    }
    scores.push_back(score);
    if (progress) progress(static_cast<int64_t>(scores.size()), static_cast<int64_t>(subnets.size()));
  }
  return scores;
}

void calibrate(Supernet& network, const Config& config, std::span<const Subnet> subnets, Domain domain,
               const data::Dataset& dataset, int64_t limit, const Progress& progress) {
  // Folders list images class by class; statistics of a batch need all classes, so the order is shuffled.
  PreparedImages images(config, dataset, domain, PreparedImages::Order::shuffled, limit);
  int64_t done = 0;
  for (const Subnet& subnet : subnets) {
    const SubnetPlace at = place(network.options().bank, subnet);
    for (SwitchableNorm* norm : network.norms()) norm->reset(at, domain);
    images.each([&](const Tensor& largest, const data::Batch&) {
      Tape tape(false, network.stream());
      const Tensor x = ops::resize(network.stream(), largest, subnet.resolution, subnet.resolution);
      const BatchPart part{domain, x.dim(0)};
      network.forward(tape, subnet, x, std::span(&part, 1), NormMode::calibrate);
    });
    if (progress) progress(++done, static_cast<int64_t>(subnets.size()));
  }
}

}  // namespace rtfq
