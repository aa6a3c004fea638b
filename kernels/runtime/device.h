#pragma once
// Devices, streams and raw memory behind one small interface. A backend that this build lacks throws when it is asked
// for; nothing above kernels/ needs an #ifdef.

#include <cstddef>
#include <string>

namespace rtfq::kernels {

enum class Backend { cpu, cuda, simt };

struct Device {
  Backend backend = Backend::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

/// An ordered queue of launches. The CPU's runs each launch before returning, with OpenMP's threads.
struct Stream {
  Device device;
  void* handle = nullptr;
};

const char* to_string(Backend);
/// "cpu", "cuda", "cuda:1" or "simt"; throws std::invalid_argument naming the choices.
Device parse_device(const std::string& text);

/// Throws std::runtime_error: this build or machine has no `backend`, asked for by `who`.
[[noreturn]] void throw_backend_absent(const char* who, Backend backend);

namespace runtime {

/// `bytes` of device memory aligned to 64 bytes; throws std::bad_alloc's message with the size asked for.
void* allocate(Device, std::size_t bytes);
void release(Device, void* pointer) noexcept;
void copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream);
void fill_zero(Device, void* pointer, std::size_t bytes, Stream);

/// Threads a CPU launch uses (OpenMP's maximum).
int threads();
void set_threads(int count);

}  // namespace runtime
}  // namespace rtfq::kernels
