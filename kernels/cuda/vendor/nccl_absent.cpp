// What stands in for kernels/cuda/vendor/nccl.cpp in a build without CUDA, or without the headers of NCCL.
#include <stdexcept>

#include "kernels/runtime/collective.h"

namespace rtfq::kernels::runtime {

std::string nccl_missing() {
  return built_with_cuda ? "this build found no headers of NCCL" : "this build has no CUDA";
}
NcclId make_nccl_id() {
  throw std::runtime_error("[nccl] " + nccl_missing());
}
std::unique_ptr<Collective> make_nccl(Device, const NcclId&, int, int) {
  throw std::runtime_error("[nccl] " + nccl_missing());
}

}  // namespace rtfq::kernels::runtime
