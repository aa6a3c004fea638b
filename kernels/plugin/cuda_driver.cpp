#include "kernels/plugin/cuda_driver.h"

#include <cstdlib>
#include <optional>

#include "kernels/runtime/library.h"

namespace rtfq::kernels::plugin {
namespace {

// As cuda.h has them.
using Result = int;
constexpr int kernel_shared_bytes = 8;                // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr unsigned shared_without_asking = 48 << 10;  // more must be asked for

class Driver {
 public:
  bool missing() const { return !library_.missing().empty(); }
  template <class... Arguments>
  void call(const char* function, const char* what, Arguments... arguments) const {
    const Result result = library_.function<Result(Arguments...)>(function)(arguments...);
    if (result == 0) return;
    const char* text = nullptr;
    library_.function<Result(Result, const char**)>("cuGetErrorString")(result, &text);
    throw std::runtime_error(std::string("[cuda] ") + what + ": " + (text ? text : "an unknown error") +
                             " (" + std::to_string(result) + ")");
  }

 private:
  static const char* name() {
    const char* given = std::getenv("RTFQ_CUDA_DRIVER");
    return given ? given : "libcuda.so.1";
  }
  runtime::Library library_{{name()}, "cuda"};
};

/// One that was not there is looked for again.
const Driver& driver() {
  static std::optional<Driver> loaded;
  if (!loaded || loaded->missing()) loaded.emplace();
  return *loaded;
}

}  // namespace

DriverKernel* load_kernel(const std::string& cubin, const std::string& name) {
  void* library = nullptr;
  DriverKernel* kernel = nullptr;
  driver().call("cuLibraryLoadData", "loading the cubin", &library, static_cast<const void*>(cubin.data()),
                static_cast<void*>(nullptr), static_cast<void**>(nullptr), 0u, static_cast<void*>(nullptr),
                static_cast<void**>(nullptr), 0u);
  driver().call("cuLibraryGetKernel", "finding the kernel in the cubin", &kernel, library, name.c_str());
  return kernel;
}

void launch_kernel(DriverKernel* kernel, const DriverLaunch& launch) {
  if (launch.shared_bytes > shared_without_asking) {
    int device = 0;
    driver().call("cuCtxGetDevice", "which device is current", &device);
    driver().call("cuKernelSetAttribute", "asking for shared memory", kernel_shared_bytes,
                  static_cast<int>(launch.shared_bytes), kernel, device);
  }
  driver().call("cuLaunchKernel", "launching the cubin", static_cast<void*>(kernel), launch.blocks, 1u, 1u,
                launch.threads, 1u, 1u, launch.shared_bytes, launch.stream, launch.parameters,
                static_cast<void**>(nullptr));
}

}  // namespace rtfq::kernels::plugin
