// The GPU's implementations of convolution, best first.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_geometry.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

template <class Op, const char* (*reason)(const Op&, const Conv2dShape&)>
const char* unsupported(const Conv2dShape& s) {
  return reason(Op{}, s);
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Conv2dForward::Impl> Conv2dForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive",
                                   RTFQ_GPU::unsupported<Conv2dForward, RTFQ_GPU::conv2d_naive_unsupported>,
                                   RTFQ_GPU::conv2d_naive}};
  return list;
}
std::span<const Conv2dDgrad::Impl> Conv2dDgrad::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive",
                                   RTFQ_GPU::unsupported<Conv2dDgrad, RTFQ_GPU::conv2d_naive_unsupported>,
                                   RTFQ_GPU::conv2d_naive}};
  return list;
}
std::span<const Conv2dWgrad::Impl> Conv2dWgrad::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive",
                                   RTFQ_GPU::unsupported<Conv2dWgrad, RTFQ_GPU::conv2d_naive_unsupported>,
                                   RTFQ_GPU::conv2d_naive}};
  return list;
}

}  // namespace rtfq::kernels
