#include <omp.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

#include "kernels/runtime/cuda.h"
#include "kernels/runtime/device.h"
#include "kernels/runtime/huge_pages.h"
#include "kernels/simt/executor.h"
#include "kernels/simt/memory.h"

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
    return {Backend::cuda, std::stoi(text.substr(5))};
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

/// Lets copies and fills at the executor's memory.
struct DeviceAccessOf {
  explicit DeviceAccessOf(Stream stream) {
    if (stream.device.backend == Backend::simt) access.emplace();
  }
  std::optional<simt::DeviceAccess> access;
};

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
    pointer = simt::allocate(bytes);
  } else {
    pointer = allocate_host(bytes);
  }
  if (!pointer)
    throw std::runtime_error("[memory] out of memory: " + std::to_string(bytes) +
                             " bytes asked for; lower the batch size or the resolution");
  return pointer;
}

void release(Device device, void* pointer) noexcept {
  switch (device.backend) {
    case Backend::cpu:
      return std::free(pointer);
    case Backend::simt:
      return simt::release(pointer);
    case Backend::cuda:
      return cuda_release(device, pointer);
  }
}

void copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes,
          Stream stream) {
  if (!on_host(to_device) || !on_host(from_device)) {
    cuda_copy(to, to_device, from, from_device, bytes, stream, true);
    return;
  }
  copy_async(to, to_device, from, from_device, bytes, stream);
  if (to_device.backend != from_device.backend) synchronize(stream);
}

void copy_async(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes,
                Stream stream) {
  if (!on_host(to_device) || !on_host(from_device)) {
    cuda_copy(to, to_device, from, from_device, bytes, stream, false);
    return;
  }
  submit(stream, [=] {
    const DeviceAccessOf access(stream);
    if (bytes) std::memcpy(to, from, bytes);
  });
}

void fill_zero(Device device, void* pointer, std::size_t bytes, Stream stream) {
  if (!on_host(device)) {
    cuda_fill_zero(device, pointer, bytes, stream);
    return;
  }
  submit(stream, [=] {
    const DeviceAccessOf access(stream);
    if (bytes) std::memset(pointer, 0, bytes);
  });
}

void synchronize(Stream stream) {
  if (stream.device.backend == Backend::cuda) cuda_synchronize(stream);
  if (stream.device.backend != Backend::simt) return;
  stream.handle ? static_cast<simt::Stream*>(stream.handle)->synchronize() : simt::synchronize();
}

void* allocate_pinned(Device device, std::size_t bytes) {
  return on_host(device) ? allocate({}, bytes) : cuda_allocate_pinned(device, bytes);
}

void release_pinned(Device device, void* pointer) noexcept {
  on_host(device) ? release({}, pointer) : cuda_release_pinned(device, pointer);
}

bool available(Device device, std::string* why_not) {
  if (on_host(device)) return true;
  const std::string missing = cuda_missing(device);
  if (why_not) *why_not = missing;
  return missing.empty();
}

DeviceProperties properties(Device device) {
  if (!on_host(device)) return cuda_properties(device);
  DeviceProperties all;
  all.name = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (const auto colon = line.find(": "); line.starts_with("model name") && colon != line.npos) {
      all.name = line.substr(colon + 2);
      break;
    }
  all.multiprocessors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  all.memory = memory_info(device).total;
  return all;
}

MemoryInfo memory_info(Device device) {
  if (!on_host(device)) return cuda_memory_info(device);
  struct sysinfo info {};
  if (::sysinfo(&info)) return {};
  return {std::size_t{info.freeram} * info.mem_unit, std::size_t{info.totalram} * info.mem_unit};
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
