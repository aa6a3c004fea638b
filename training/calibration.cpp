#include "training/calibration.h"

#include <optional>
#include <utility>

#include "engine/reducer.h"
#include "training/exchange.h"

namespace rtfq {
namespace {

/// For subnets without running averages where calibration is off.
constexpr int64_t images_of_undrawn = 1024;

std::vector<Subnet> without_statistics(Supernet& network, std::vector<Subnet> subnets, Domain domain) {
  std::erase_if(subnets, [&](const Subnet& subnet) {
    // Every subnet runs the first norm.
    return network.norms().front()->seen(place(network.options().bank, subnet), domain);
  });
  return subnets;
}

}  // namespace

void calibrate_bank(Supernet& network, const Config& config, const TrainingData& data,
                    const Progress& progress) {
  struct Part {
    Domain domain;
    const data::Dataset& images;
    std::vector<Subnet> subnets;
  };
  std::vector<Part> parts{{Domain::source, data.source, {}}};
  if (config.model.domain_norms && !data.target.samples.empty())
    parts.push_back({Domain::target, data.target, {}});
  const bool keeps = config.train.calibration_images == 0;
  int64_t total = 0, before = 0;
  for (Part& part : parts) {
    part.subnets = trained_subnets(config);
    if (keeps) part.subnets = without_statistics(network, part.subnets, part.domain);
    total += static_cast<int64_t>(part.subnets.size());
  }
  // Each rank takes its share of the subnets, whose statistics are rows of their own.
  share_statistics(network);
  std::vector<Tensor> statistics;
  std::vector<std::vector<float>> start;
  const auto ranks = static_cast<std::size_t>(reducer().ranks()),
             rank = static_cast<std::size_t>(reducer().rank());
  if (ranks > 1)
    for (const auto& [name, tensor] : network.buffers()) {
      statistics.push_back(tensor);
      start.push_back(tensor.to_vector());
    }
  std::optional<AloneScope> alone(std::in_place);
  for (Part& part : parts) {
    std::vector<Subnet> mine;
    for (std::size_t i = rank; i < part.subnets.size(); i += ranks) mine.push_back(part.subnets[i]);
    part.subnets = std::move(mine);
  }
  total = 0;
  for (const Part& part : parts) total += static_cast<int64_t>(part.subnets.size());
  for (const Part& part : parts) {
    if (part.subnets.empty()) continue;
    calibrate(network, config, part.subnets, part.domain, part.images,
              keeps ? images_of_undrawn : config.train.calibration_images, [&](int64_t done, int64_t) {
                if (progress) progress(before + done, total);
              });
    before += static_cast<int64_t>(part.subnets.size());
  }
  alone.reset();
  join_changes(statistics, start);
}

}  // namespace rtfq
