// The CPU's implementations of the fully connected layer, best first.
#include "kernels/cpu/linear_naive.h"
#include "kernels/cpu/linear_onednn.h"

namespace rtfq::kernels {

std::span<const LinearForward::Impl> LinearForward::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::linear_forward_unsupported, onednn::linear_forward,
       onednn::linear_forward_workspace},
      {"naive", naive::linear_forward_unsupported, naive::linear_forward},
  };
  return list;
}

std::span<const LinearDgrad::Impl> LinearDgrad::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::linear_unsupported, onednn::linear_dgrad, onednn::linear_dgrad_workspace},
      {"naive", naive::linear_unsupported, naive::linear_dgrad},
  };
  return list;
}

std::span<const LinearWgrad::Impl> LinearWgrad::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::linear_unsupported, onednn::linear_wgrad, onednn::linear_wgrad_workspace},
      {"naive", naive::linear_unsupported, naive::linear_wgrad},
  };
  return list;
}

}  // namespace rtfq::kernels
