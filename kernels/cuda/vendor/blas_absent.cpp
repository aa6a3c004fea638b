// What stands in for kernels/cuda/vendor/blas.cpp where the headers of cuBLAS are not installed.
#include <stdexcept>

#include "kernels/cuda/vendor/blas.h"

namespace rtfq::kernels::vendor {

const std::string& blas_missing() {
  static const std::string text = "this build found no headers of cuBLAS";
  return text;
}
const char* blas_unsupported(const Product&) {
  return blas_missing().c_str();
}
void multiply(const Product&, const void*, const void*, void*, bool, void*, Stream) {
  throw std::runtime_error("[cublas] " + blas_missing());
}

}  // namespace rtfq::kernels::vendor
