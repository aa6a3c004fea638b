#include "training/evaluation.h"

#include <algorithm>

#include "training/losses.h"
#include "training/network.h"

namespace rtfq {
namespace {

/// Images of one evaluation batch: enough for the kernels to be busy, few enough that a ResNet-50 at 224
/// pixels fits.
int evaluation_batch(int resolution) {
  return resolution <= 64 ? 256 : 32;
}

/// A data set's images at a bank's largest resolution, in batches. They stay in memory when they fit the data
/// cache, so that 48 subnets decode them once.
class PreparedImages {
 public:
  PreparedImages(const Config& config, const data::Dataset& dataset, Domain domain, bool shuffled,
                 int64_t limit)
      : config_(config), limit_(std::min<int64_t>(limit, static_cast<int64_t>(dataset.samples.size()))) {
    data::LoaderOptions options = loader_options(config, domain, shuffled);
    const int resize = options.augmentation.resize;
    options.augmentation = {};
    options.augmentation.resize = resize;
    options.batch = evaluation_batch(options.resolution);
    options.cache_bytes = 0;
    loader_ = std::make_unique<data::Loader>(dataset, options);
    const int64_t pixels = int64_t{options.resolution} * options.resolution * options.channels;
    keep_ = limit_ * pixels <= config.data.cache_mib << 20;
  }

  /// Calls `visit` with every batch: normalized images and labels.
  template <class Visit>
  void each(const Visit& visit) {
    if (kept_.empty()) {
      loader_->seek(0);
      for (int64_t seen = 0; seen < limit_;) {
        if (loader_->step() >= static_cast<uint64_t>(loader_->steps_per_epoch())) break;
        data::Batch batch = loader_->next();
        if (batch.n == 0) continue;  // all skipped as bad images
        seen += batch.n;
        visit_batch(batch, visit);
        if (keep_) kept_.push_back(std::move(batch));
      }
    } else {
      for (const data::Batch& batch : kept_) visit_batch(batch, visit);
    }
  }

 private:
  template <class Visit>
  void visit_batch(const data::Batch& batch, const Visit& visit) {
    visit(ops::normalize({}, batch.pixels, {batch.n, batch.height, batch.width, batch.channels},
                         config_.data.mean, config_.data.deviation),
          batch.labels);
  }

  const Config& config_;
  int64_t limit_;
  bool keep_ = false;
  std::unique_ptr<data::Loader> loader_;
  std::vector<data::Batch> kept_;
};

double accuracy(Supernet& network, const Subnet& subnet, Domain domain, PreparedImages& images) {
  double right = 0;
  int64_t seen = 0;
  images.each([&](const Tensor& largest, const std::vector<int32_t>& labels) {
    Tape tape(false);
    const Tensor x = ops::resize({}, largest, subnet.resolution, subnet.resolution);
    const BatchPart part{domain, x.dim(0)};
    const Tensor logits = network.forward(tape, subnet, x, std::span(&part, 1), NormMode::stored).data;
    right += percent_right(logits, labels) * static_cast<double>(x.dim(0));
    seen += x.dim(0);
  });
  return right / static_cast<double>(seen);
}

}  // namespace

double accuracy(Supernet& network, const Subnet& subnet, Domain domain, const Config& config,
                const data::Dataset& dataset) {
  if (!dataset.labelled())
    throw std::invalid_argument("[eval] " + dataset.origin +
                                " has no labels: accuracy needs one subfolder a class, or a list "
                                "of `path label`");
  PreparedImages images(config, dataset, domain, false, INT64_MAX);
  return accuracy(network, subnet, domain, images);
}

std::vector<SubnetScore> evaluate(Supernet& network, const Config& config, std::span<const Subnet> subnets,
                                  const data::Dataset* target, const data::Dataset* source,
                                  const Progress& progress) {
  const auto prepared = [&](const data::Dataset* dataset, Domain domain) {
    return dataset && dataset->labelled()
               ? std::make_unique<PreparedImages>(config, *dataset, domain, false, INT64_MAX)
               : nullptr;
  };
  const auto on_target = prepared(target, Domain::target), on_source = prepared(source, Domain::source);
  const bool source_only = config.train.method == "source_only";
  std::vector<SubnetScore> scores;
  for (const Subnet& subnet : subnets) {
    SubnetScore score{subnet, network.cost(subnet), {}, {}};
    // Without adaptation nothing of the target is known: its images meet the source's norms.
    if (on_target)
      score.accuracy = accuracy(network, subnet, source_only ? Domain::source : Domain::target, *on_target);
    if (on_source) score.source_accuracy = accuracy(network, subnet, Domain::source, *on_source);
    scores.push_back(score);
    if (progress) progress(static_cast<int64_t>(scores.size()), static_cast<int64_t>(subnets.size()));
  }
  return scores;
}

void calibrate(Supernet& network, const Config& config, std::span<const Subnet> subnets, Domain domain,
               const data::Dataset& dataset, int64_t limit, const Progress& progress) {
  // Folders list images class by class; statistics of a batch need all classes, so the order is shuffled.
  PreparedImages images(config, dataset, domain, true, limit);
  int64_t done = 0;
  for (const Subnet& subnet : subnets) {
    const SubnetPlace at = place(network.options().bank, subnet);
    for (SwitchableNorm* norm : network.norms()) norm->reset(at, domain);
    images.each([&](const Tensor& largest, const std::vector<int32_t>&) {
      Tape tape(false);
      const Tensor x = ops::resize({}, largest, subnet.resolution, subnet.resolution);
      const BatchPart part{domain, x.dim(0)};
      network.forward(tape, subnet, x, std::span(&part, 1), NormMode::calibrate);
    });
    if (progress) progress(++done, static_cast<int64_t>(subnets.size()));
  }
}

}  // namespace rtfq
