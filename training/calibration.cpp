#include "training/calibration.h"

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
  for (const Part& part : parts) {
    calibrate(network, config, part.subnets, part.domain, part.images,
              keeps ? images_of_undrawn : config.train.calibration_images, [&](int64_t done, int64_t) {
                if (progress) progress(before + done, total);
              });
    before += static_cast<int64_t>(part.subnets.size());
  }
}

}  // namespace rtfq
