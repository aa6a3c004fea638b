// The CPU's implementations of the convolutions, best first.
#include "kernels/cpu/conv2d_naive.h"
#include "kernels/cpu/conv2d_onednn.h"
#include "kernels/cpu/conv2d_pairs.h"
#include "kernels/cpu/conv2d_widening.h"

namespace rtfq::kernels {
namespace {

/// What a plain implementation answers: it takes every valid shape.
template <class Op>
const char* unsupported(const Conv2dShape& s) {
  return unsupported_types(Op{}, s);
}

}  // namespace

std::span<const Conv2dForward::Impl> Conv2dForward::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::conv2d_forward_unsupported, onednn::conv2d_forward, onednn::conv2d_forward_workspace,
       onednn::conv2d_forward_packed, onednn::conv2d_forward_pack},
      {"pairs", pairs::conv2d_forward_unsupported, pairs::conv2d_forward, pairs::conv2d_forward_workspace,
       pairs::conv2d_forward_packed, pairs::conv2d_forward_pack},
      {"widening", widening::conv2d_forward_unsupported, widening::conv2d_forward,
       widening::conv2d_forward_workspace, widening::conv2d_forward_packed, widening::conv2d_forward_pack},
      {"naive", unsupported<Conv2dForward>, naive::conv2d_forward},
  };
  return list;
}

std::span<const Conv2dDgrad::Impl> Conv2dDgrad::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::conv2d_dgrad_unsupported, onednn::conv2d_dgrad, onednn::conv2d_dgrad_workspace,
       onednn::conv2d_dgrad_packed, onednn::conv2d_dgrad_pack},
      {"naive", unsupported<Conv2dDgrad>, naive::conv2d_dgrad},
  };
  return list;
}

std::span<const Conv2dWgrad::Impl> Conv2dWgrad::cpu() {
  static constexpr Impl list[] = {
      {"onednn", onednn::conv2d_wgrad_unsupported, onednn::conv2d_wgrad, onednn::conv2d_wgrad_workspace},
      {"naive", unsupported<Conv2dWgrad>, naive::conv2d_wgrad},
  };
  return list;
}

}  // namespace rtfq::kernels
