#pragma once
// Devices, streams and raw memory behind one small interface. A backend that this build lacks throws when it
// is asked for; nothing above kernels/ needs an #ifdef.

#include <cstddef>
#include <string>

namespace rtfq::kernels {

/// `simt` runs the CUDA kernels on the CPU (docs/simt.md); its memory is the host's.
enum class Backend { cpu, cuda, simt };

/// Whether nvcc built kernels/cuda into this binary. Such a binary starts on a machine without a GPU and says
/// so when it is asked for the device.
extern const bool built_with_cuda;

struct Device {
  Backend backend = Backend::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

/// An ordered queue of launches. The CPU's runs each launch before returning, with OpenMP's threads. `handle`
/// is a cudaStream_t on cuda and a simt::Stream* on simt; null there means that launches are in order with
/// everything.
struct Stream {
  Device device;
  void* handle = nullptr;
};

const char* to_string(Backend);
/// "cpu", "cuda", "cuda:1" or "simt"; throws std::invalid_argument naming the choices.
Device parse_device(const std::string& text);

/// Throws std::runtime_error: this build has no `backend` for `who`, an operator or a part of the program.
[[noreturn]] void throw_backend_absent(const char* who, Backend backend);

namespace runtime {

/// `bytes` of device memory aligned to 64 bytes; throws std::runtime_error with the size asked for. On simt a
/// block has exactly that size and starts as NaNs, so that sanitizers and results show what was not written.
void* allocate(Device, std::size_t bytes);
void release(Device, void* pointer) noexcept;
/// Copies between a device and the host are done when it returns; others are queued.
void copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream);
void fill_zero(Device, void* pointer, std::size_t bytes, Stream);
/// Returns when everything queued has run; throws what a launch did wrong.
void synchronize(Stream);

/// Threads a CPU launch uses (OpenMP's maximum).
int threads();
void set_threads(int count);

}  // namespace runtime
}  // namespace rtfq::kernels
