// What stands in for kernels/cuda/vendor/cudnn.cpp where the headers of cuDNN are not installed.
#include <stdexcept>

#include "kernels/cuda/vendor/cudnn.h"

namespace rtfq::kernels::vendor {

const std::string& cudnn_missing() {
  static const std::string text = "this build found no headers of cuDNN";
  return text;
}
const char* cudnn_unsupported(Direction, const Conv2dShape&) {
  return cudnn_missing().c_str();
}
std::size_t cudnn_workspace(Direction, const Conv2dShape&) {
  return 0;
}
void cudnn_run(Direction, const Conv2dShape&, void*, void*, void*, void*, Stream) {
  throw std::runtime_error("[cudnn] " + cudnn_missing());
}

}  // namespace rtfq::kernels::vendor
