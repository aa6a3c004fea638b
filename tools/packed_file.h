#pragma once
// What commands do with a packed file (`rtfq pack`): all from the file alone.

#include <memory>
#include <string>
#include <vector>

#include "models/packed/pack.h"
#include "tools/command.h"
#include "tools/deploy/session.h"
#include "training/latency.h"
#include "training/selection.h"

namespace rtfq::cli {

/// What a packed file of a run says besides its network; criteria are those of `entries`' scores.
packed::PackInfo pack_info(const OpenedRun&, const std::vector<packed::SubnetEntry>& entries);

int select_packed(const std::string& file, const std::vector<Limit>&, const std::string& criterion,
                  bool json);
/// What the file holds, and of one subnet every layer's codes and the kernel that multiplies them here.
int describe_packed(const std::string& file, const std::string& subnet);
int measure_packed(const std::string& file, const LatencyOptions&, int threads);

deploy::Limits limits_of(const std::vector<Limit>&);
/// The best subnet within the limits; where one is on latency, subnets are measured in the order of their
/// scores, batch 1, until one fits. Nothing where none does.
std::optional<std::size_t> best_subnet(const std::shared_ptr<deploy::LoadedModel>&, const deploy::Limits&,
                                       const std::string& criterion, int threads);

}  // namespace rtfq::cli
