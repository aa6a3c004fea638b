#pragma once
// Sums over the devices of several processes, a device each, in the order of a stream: the host waits for
// nothing and sees nothing.

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "kernels/runtime/device.h"

namespace rtfq::kernels::runtime {

/// f32 values in the device's memory.
struct Floats {
  float* at;
  std::size_t count;
};

/// Every rank calls the same sums in the same order.
class Collective {
 public:
  virtual ~Collective() = default;
  /// Every element becomes its sum over ranks, with the same bits on all of them.
  virtual void sum(std::span<const Floats>, Stream) = 0;
  virtual void sum(double* values, std::size_t count, Stream) = 0;
  /// "NCCL 2.28.9"
  virtual std::string name() const = 0;
};

/// What rank 0 makes and all ranks are given, so that they find each other.
struct NcclId {
  std::array<char, 128> bytes{};
};

/// Why there is no NCCL here, or an empty string. It is opened when it is first asked for.
std::string nccl_missing();
NcclId make_nccl_id();
/// One rank a GPU; returns when all ranks have called. In which order NCCL adds is its own matter: it is the
/// same from run to run for one version, one set of machines and one setting of its variables, and not that
/// of the transports between hosts.
std::unique_ptr<Collective> make_nccl(Device, const NcclId&, int rank, int ranks);

}  // namespace rtfq::kernels::runtime
