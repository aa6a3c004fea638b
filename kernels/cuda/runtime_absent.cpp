// What stands in for kernels/cuda/runtime.cpp in a build without CUDA.
#include "kernels/runtime/cuda.h"

namespace rtfq::kernels {

const bool built_with_cuda = false;

namespace runtime {

void* cuda_allocate(Device, std::size_t) {
  throw_backend_absent("runtime", Backend::cuda);
}
void cuda_release(Device, void*) noexcept {}
void cuda_copy(void*, Device, const void*, Device, std::size_t, Stream) {
  throw_backend_absent("runtime", Backend::cuda);
}
void cuda_fill_zero(Device, void*, std::size_t, Stream) {
  throw_backend_absent("runtime", Backend::cuda);
}
void cuda_synchronize(Stream) {
  throw_backend_absent("runtime", Backend::cuda);
}

}  // namespace runtime
}  // namespace rtfq::kernels
