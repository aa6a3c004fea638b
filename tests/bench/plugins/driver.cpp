// A CUDA driver without a GPU: it "loads" the example's cubin, and a launch runs the example's source on the
// host, thread by thread, with the parameters as a real driver reads them: from the addresses it is given.
#include <cuda.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#define __global__
#define __launch_bounds__(threads)
namespace {
struct {
  unsigned x;
} blockIdx, threadIdx;
float __frcp_rn(float x) {
  return 1.0f / x;
}
int __float2int_rn(float x) {
  return static_cast<int>(std::rint(x));
}
using std::fmaxf, std::fminf;
}  // namespace
#include "docs/plugins/cubin/kernel.cu"

namespace {
char library, kernel;  // what the handles point to
unsigned allowed_shared = 48 << 10;

template <class T>
T parameter(void** parameters, int i) {
  T value;
  std::memcpy(&value, parameters[i], sizeof value);
  return value;
}
}  // namespace

extern "C" {

CUresult CUDAAPI cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_ERROR_NO_BINARY_FOR_GPU ? "no kernel image is available for execution on the device"
                                                : "another error";
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryLoadData(CUlibrary* loaded, const void* code, CUjit_option*, void**, unsigned,
                                   CUlibraryOption*, void**, unsigned) {
  if (std::getenv("RTFQ_TEST_OTHER_GPU")) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  if (std::memcmp(code,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return CUDA_ERROR_INVALID_SOURCE;
  *loaded = reinterpret_cast<CUlibrary>(&library);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryGetKernel(CUkernel* found, CUlibrary from, const char* name) {
  if (from != reinterpret_cast<CUlibrary>(&library)) return CUDA_ERROR_INVALID_HANDLE;
  if (std::strcmp(name, "fakequant_values") != 0) return CUDA_ERROR_NOT_FOUND;
  *found = reinterpret_cast<CUkernel>(&kernel);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice* device) {
  *device = 3;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel of,
                                      CUdevice device) {
  if (of != reinterpret_cast<CUkernel>(&kernel) || device != 3) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
  allowed_shared = static_cast<unsigned>(value);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned blocks, unsigned y, unsigned z,
                                unsigned threads, unsigned threads_y, unsigned threads_z, unsigned shared,
                                CUstream stream, void** parameters, void** extra) {
  if (reinterpret_cast<void*>(function) != &kernel) return CUDA_ERROR_INVALID_HANDLE;
  if (blocks == 0 || y != 1 || z != 1 || threads_y != 1 || threads_z != 1 || shared > allowed_shared ||
      extra || stream != reinterpret_cast<CUstream>(0x5eed))
    return CUDA_ERROR_INVALID_VALUE;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
      fakequant_values(parameter<const float*>(parameters, 0), parameter<const float*>(parameters, 1),
                       parameter<float*>(parameters, 2), parameter<uint8_t*>(parameters, 3),
                       parameter<int64_t>(parameters, 4), parameter<int32_t>(parameters, 5),
                       parameter<int32_t>(parameters, 6));
  return CUDA_SUCCESS;
}

}  // extern "C"
