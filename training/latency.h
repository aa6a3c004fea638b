#pragma once
// How long subnets take on this machine.

#include <span>
#include <vector>

#include "training/evaluation.h"

namespace rtfq {

struct LatencyOptions {
  int batch = 1;
  int64_t images = 20;  ///< timed for every subnet, rounded up to whole batches
};

/// Times forward passes from normalized images in memory to logits: decoding and resizing are left out. Every
/// subnet is visited four times, there and back through the list twice, so that a machine that grows slower
/// or faster favours none; a visit begins with an untimed pass, which prepares the subnet's weights and fills
/// caches. The threads are those of kernels::runtime. Throws std::runtime_error when a subnet's norms have no
/// statistics.
std::vector<Latency> measure_latency(Supernet&, const Config&, std::span<const Subnet>, const LatencyOptions&,
                                     const Progress& progress = {});

/// "Intel(R) Xeon(R) CPU @ 2.20GHz, 2 processors".
std::string machine_name();

/// Median and distance of the quartiles, by linear interpolation. Throws std::invalid_argument when there are
/// no values.
struct Spread {
  double median = 0, quartiles = 0;
};
Spread spread_of(std::vector<double> values);

}  // namespace rtfq
