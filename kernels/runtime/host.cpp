#include "kernels/runtime/device.h"

#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace rtfq::kernels {

const char* to_string(Backend backend) {
  switch (backend) {
    case Backend::cpu: return "cpu";
    case Backend::cuda: return "cuda";
    case Backend::simt: return "simt";
  }
  throw std::logic_error("[device] unknown backend");
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "simt") return {Backend::simt, 0};
  if (text == "cuda") return {Backend::cuda, 0};
  if (text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.find_first_not_of("0123456789", 5) == text.npos &&
      text.size() < 9)
    return {Backend::cuda, std::atoi(text.c_str() + 5)};
  throw std::invalid_argument("[device] expected cpu, cuda, cuda:N or simt, got '" + text + "'");
}

void throw_backend_absent(const char* who, Backend backend) {
  throw std::runtime_error(std::string("[") + who + "] this build has no " + to_string(backend) +
                           " backend; use device cpu");
}

namespace runtime {
namespace {

void require_cpu(Device device) {
  if (device.backend != Backend::cpu) throw_backend_absent("runtime", device.backend);
}

}  // namespace

void* allocate(Device device, std::size_t bytes) {
  require_cpu(device);
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  void* pointer = std::aligned_alloc(64, rounded ? rounded : 64);
  if (!pointer)
    throw std::runtime_error("[memory] out of memory: " + std::to_string(bytes) +
                             " bytes asked for; lower the batch size or the resolution");
  return pointer;
}

void release(Device device, void* pointer) noexcept {
  if (device.backend == Backend::cpu) std::free(pointer);
}

void copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream) {
  require_cpu(to_device);
  require_cpu(from_device);
  if (bytes) std::memcpy(to, from, bytes);
}

void fill_zero(Device device, void* pointer, std::size_t bytes, Stream) {
  require_cpu(device);
  if (bytes) std::memset(pointer, 0, bytes);
}

int threads() { return omp_get_max_threads(); }

void set_threads(int count) {
  if (count < 1) throw std::invalid_argument("[threads] expected at least 1, got " + std::to_string(count));
  omp_set_num_threads(count);
}

}  // namespace runtime
}  // namespace rtfq::kernels
