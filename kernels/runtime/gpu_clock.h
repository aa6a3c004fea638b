#pragma once
// Time on a GPU, for benchmarks: events around replays of a recorded launch, with the level-two cache emptied
// or not; and what the card says of itself while it is measured. In builds without CUDA the constructor
// throws.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/runtime/device.h"

namespace rtfq::kernels::runtime {

struct GpuFacts {
  std::string name;  ///< "NVIDIA H200"
  std::string driver;
  int multiprocessors = 0, major = 0, minor = 0;
  double memory = 0, l2_cache = 0;  ///< bytes
};

/// What the driver said last; zeros where it says nothing (no libnvidia-ml).
struct GpuState {
  int sm_mhz = 0, memory_mhz = 0, celsius = 0;
  double watts = 0;
  unsigned long long slowed = 0;  ///< the driver's reasons for lower clocks (power, heat); 0: none
};

struct GpuSamples {
  std::vector<double> device;      ///< seconds of a launch between two events
  std::vector<double> end_to_end;  ///< of the host, from the call until the device is done
  int64_t launches = 0;            ///< in a sample of `device`
  bool quiet = false;              ///< the wanted noise was reached
  int discarded = 0;               ///< samples left out because the card had slowed down
  GpuState state;                  ///< after the last sample
};

struct GpuTiming {
  bool cold = true;      ///< nothing of the launch is in the level-two cache: one launch a sample
  int samples = 21;      ///< at least
  double noise = 0.02;   ///< half of the 99 % interval of the median that is enough
  double seconds = 0.5;  ///< that this may take
};

class GpuClock {
 public:
  using Launch = std::function<void(Stream)>;

  /// Throws std::runtime_error where there is no such GPU.
  explicit GpuClock(Device);
  ~GpuClock();
  GpuClock(const GpuClock&) = delete;
  GpuClock& operator=(const GpuClock&) = delete;

  GpuFacts facts() const;
  GpuState state() const;
  Stream stream() const;
  /// Launches that cannot be recorded (they synchronise, say) are timed as they are.
  GpuSamples time(const Launch&, const GpuTiming&);
  /// Seconds of `launches` launches in a row between two events.
  double seconds(const Launch&, int64_t launches);
  /// Bytes a second of a copy of 1 GiB from the device's memory to itself, reading and writing counted: the
  /// driver's, or a kernel's where that is faster.
  double copy_bandwidth();
  /// Profilers told to wait for it (ncu --profile-from-start off) see what is launched in between.
  void start_profiler();
  void stop_profiler();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

/// What a GPU can do at best. Arithmetic in operations a second, a multiply-add being two; zeros where there
/// is no library to measure it by.
struct GpuPeaks {
  double copy = 0;  ///< bytes a second, reading and writing counted
  double f32 = 0, bf16 = 0, int8 = 0;
  std::string by;  ///< whose matrix product it is
};
GpuPeaks measure_gpu(GpuClock&, Device);

}  // namespace rtfq::kernels::runtime
