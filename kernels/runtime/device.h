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

/// Host memory that a device copies from and to without the host's help (page-locked on cuda); plain memory
/// for cpu and simt. Throws as allocate does.
void* allocate_pinned(Device, std::size_t bytes);
void release_pinned(Device, void* pointer) noexcept;
/// Queued like a launch, whichever side is the host: host memory must be pinned and stay untouched until the
/// stream has got there.
void copy_async(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream);

/// Whether the device can be used here: built in, and there. `why_not` says what is missing if not null.
bool available(Device, std::string* why_not = nullptr);

struct DeviceProperties {
  std::string name;  ///< "NVIDIA H100 80GB HBM3"; the processor's model for cpu and simt
  int multiprocessors = 0;
  int capability = 0;             ///< 90 for sm_90; 0 on cpu and simt
  std::size_t memory = 0;         ///< bytes
  std::size_t shared_memory = 0;  ///< most that a block can ask for
  std::size_t l2_cache = 0;
};
DeviceProperties properties(Device);

/// Of the whole device, whoever uses it.
struct MemoryInfo {
  std::size_t free = 0, total = 0;
};
MemoryInfo memory_info(Device);

/// Threads a CPU launch uses (OpenMP's maximum).
int threads();
void set_threads(int count);

}  // namespace runtime
}  // namespace rtfq::kernels
