#include "training/prepared_images.h"

#include <algorithm>

#include "training/network.h"

namespace rtfq {

int evaluation_batch(int resolution) {
  return resolution <= 64 ? 256 : 32;
}

Domain inference_domain(const Config& config) {
  return config.train.method == "source_only" ? Domain::source : Domain::target;
}

PreparedImages::PreparedImages(const Config& config, const data::Dataset& dataset, Domain domain, Order order,
                               int64_t limit)
    : config_(config), limit_(std::min<int64_t>(limit, static_cast<int64_t>(dataset.samples.size()))) {
  data::LoaderOptions options = loader_options(config, domain, order == Order::shuffled);
  options.augmented = false;
  options.batch = evaluation_batch(options.resolution);
  options.cache_bytes = 0;
  loader_ = std::make_unique<data::Loader>(dataset, options);
  to_device_ = std::make_unique<DeviceImages>(device_of(config), config.data.mean, config.data.deviation);
  const int64_t pixels = int64_t{options.resolution} * options.resolution * options.channels;
  keep_ = limit_ * pixels <= config.data.cache_mib << 20;
}

void PreparedImages::each(const Visit& visit) {
  if (!kept_.empty()) {
    for (const data::Batch& batch : kept_) visit_batch(batch, visit);
    return;
  }
  loader_->seek(0);
  for (int64_t seen = 0; seen < limit_;) {
    if (loader_->step() >= static_cast<uint64_t>(loader_->steps_per_epoch())) break;
    data::Batch batch = loader_->next();
    if (batch.n == 0) continue;  // all skipped as bad images
    seen += batch.n;
    visit_batch(batch, visit);
    if (keep_) kept_.push_back(std::move(batch));
  }
}

void PreparedImages::visit_batch(const data::Batch& batch, const Visit& visit) {
  visit(to_device_->images({batch.pixels}, {batch.n, batch.height, batch.width, batch.channels}), batch);
}

}  // namespace rtfq
