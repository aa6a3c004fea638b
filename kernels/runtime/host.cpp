#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "kernels/runtime/cuda.h"
#include "kernels/runtime/device.h"
#include "kernels/simt/executor.h"

namespace rtfq::kernels {

const char* to_string(Backend backend) {
  switch (backend) {
    case Backend::cpu:
      return "cpu";
    case Backend::cuda:
      return "cuda";
    case Backend::simt:
      return "simt";
  }
  throw std::logic_error("[device] unknown backend");
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "simt") return {Backend::simt, 0};
  if (text == "cuda") return {Backend::cuda, 0};
  if (text.rfind("cuda:", 0) == 0 && text.size() > 5 &&
      text.find_first_not_of("0123456789", 5) == text.npos && text.size() < 9)
    return {Backend::cuda, std::atoi(text.c_str() + 5)};
  throw std::invalid_argument("[device] expected cpu, cuda, cuda:N or simt, got '" + text + "'");
}

void throw_backend_absent(const char* who, Backend backend) {
  throw std::runtime_error(std::string("[") + who + "] this build has no " + to_string(backend) +
                           " backend; use device cpu");
}

namespace runtime {
namespace {

bool on_host(Device device) {
  return device.backend != Backend::cuda;
}

/// Runs it in its turn.
void submit(Stream stream, std::function<void()> task) {
  if (stream.device.backend != Backend::simt) return task();
  if (stream.handle) return static_cast<simt::Stream*>(stream.handle)->submit(std::move(task));
  simt::synchronize();
  task();
}

}  // namespace

void* allocate(Device device, std::size_t bytes) {
  if (device.backend == Backend::cuda) return cuda_allocate(device, bytes);
  void* pointer = nullptr;
  if (device.backend == Backend::simt) {
    if (posix_memalign(&pointer, 64, bytes ? bytes : 1)) pointer = nullptr;
    if (pointer) std::memset(pointer, 0xFF, bytes);
  } else {
    const std::size_t rounded = (bytes + 63) / 64 * 64;
    pointer = std::aligned_alloc(64, rounded ? rounded : 64);
  }
  if (!pointer)
    throw std::runtime_error("[memory] out of memory: " + std::to_string(bytes) +
                             " bytes asked for; lower the batch size or the resolution");
  return pointer;
}

void release(Device device, void* pointer) noexcept {
  on_host(device) ? std::free(pointer) : cuda_release(device, pointer);
}

void copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes,
          Stream stream) {
  if (!on_host(to_device) || !on_host(from_device)) {
    cuda_copy(to, to_device, from, from_device, bytes, stream);
    return;
  }
  submit(stream, [=] {
    if (bytes) std::memcpy(to, from, bytes);
  });
  if (to_device.backend != from_device.backend) synchronize(stream);
}

void fill_zero(Device device, void* pointer, std::size_t bytes, Stream stream) {
  if (!on_host(device)) {
    cuda_fill_zero(device, pointer, bytes, stream);
    return;
  }
  submit(stream, [=] {
    if (bytes) std::memset(pointer, 0, bytes);
  });
}

void synchronize(Stream stream) {
  if (stream.device.backend == Backend::cuda) cuda_synchronize(stream);
  if (stream.device.backend != Backend::simt) return;
  stream.handle ? static_cast<simt::Stream*>(stream.handle)->synchronize() : simt::synchronize();
}

int threads() {
  return omp_get_max_threads();
}

void set_threads(int count) {
  if (count < 1) throw std::invalid_argument("[threads] expected at least 1, got " + std::to_string(count));
  omp_set_num_threads(count);
}

}  // namespace runtime
}  // namespace rtfq::kernels
