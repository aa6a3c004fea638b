#pragma once
// Sums of a device's memory by way of the host: on the executor, and on GPUs where NCCL is missing.

#include <vector>

#include "engine/reducer.h"

namespace rtfq::ranks {

class HostCollective final : public kernels::runtime::Collective {
 public:
  /// `over` must outlive it.
  HostCollective(Reducer& over, Device device) : over_(over), device_(device) {}
  /// In pieces of some MiB. The host waits for the stream.
  void sum(std::span<const kernels::runtime::Floats>, Stream) override;
  void sum(double* values, std::size_t count, Stream) override;
  std::string name() const override { return "through the host"; }

 private:
  Reducer& over_;
  Device device_;
};

}  // namespace rtfq::ranks
