// Timing on GPUs with the CUDA runtime; the driver's management library, which knows clocks and temperatures,
// is opened when it is there.
#include "kernels/runtime/gpu_clock.h"

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include "kernels/cuda/memory_speed.h"

namespace rtfq::kernels::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("[cuda] ") + what + ": " + cudaGetErrorString(error));
}

/// The few functions of NVML that are used, by their stable C interface.
class Management {
 public:
  explicit Management(int index) {
    char bus[32] = {};
    library_ = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library_) return;
    const auto init = function<int()>("nvmlInit_v2");
    const auto by_bus = function<int(const char*, void**)>("nvmlDeviceGetHandleByPciBusId_v2");
    if (!init || !by_bus || init() != 0 || cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess ||
        by_bus(bus, &handle_) != 0)
      handle_ = nullptr;
  }

  GpuState state() const {
    GpuState s;
    if (!handle_) return s;
    unsigned value = 0;
    const auto clock = function<int(void*, int, unsigned*)>("nvmlDeviceGetClockInfo");
    if (clock && clock(handle_, 1, &value) == 0) s.sm_mhz = static_cast<int>(value);
    if (clock && clock(handle_, 2, &value) == 0) s.memory_mhz = static_cast<int>(value);
    const auto heat = function<int(void*, int, unsigned*)>("nvmlDeviceGetTemperature");
    if (heat && heat(handle_, 0, &value) == 0) s.celsius = static_cast<int>(value);
    const auto power = function<int(void*, unsigned*)>("nvmlDeviceGetPowerUsage");
    if (power && power(handle_, &value) == 0) s.watts = value / 1e3;
    const auto reasons =
        function<int(void*, unsigned long long*)>("nvmlDeviceGetCurrentClocksThrottleReasons");
    unsigned long long bits = 0;
    // An idle card and clocks that an application chose are no reason to distrust a measurement.
    if (reasons && reasons(handle_, &bits) == 0) s.slowed = bits & ~0x3ull;
    return s;
  }

  std::string driver() const {
    char text[96] = {};
    const auto version = function<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
    return handle_ && version && version(text, sizeof text) == 0 ? text : "";
  }

 private:
  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(::dlsym(library_, name));
  }
  void* library_ = nullptr;
  void* handle_ = nullptr;
};

/// Half of the median's interval that holds the true median with 99 % (order statistics), as a share of the
/// median.
double half_interval(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const auto n = static_cast<double>(x.size());
  const double reach = 2.576 * std::sqrt(n) / 2;
  const auto at = [&](double rank) { return x[static_cast<std::size_t>(std::clamp(rank, 0.0, n - 1))]; };
  return (at(n / 2 + reach) - at(n / 2 - reach)) / 2 / std::max(at(n / 2), 1e-12);
}

}  // namespace

struct GpuClock::State {
  Device device;
  Management management;
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  void* scratch = nullptr;  ///< three times what the level-two cache holds, and 4 bytes
  int64_t scratch_bytes = 0;

  explicit State(Device d) : device(d), management(d.index) {}

  void need_scratch(double cache) {
    if (scratch) return;
    constexpr int64_t chunk = gpu_cuda::memory_speed_chunk;
    scratch_bytes = (static_cast<int64_t>(3 * cache) / chunk + 1) * chunk;
    const auto bytes = static_cast<std::size_t>(scratch_bytes) + 4;
    check(cudaMalloc(&scratch, bytes), "memory to empty the cache with");
    check(cudaMemset(scratch, 0, bytes), "memory to empty the cache with");
  }

  /// By reading: a cache full of lines that were written would be emptied at the cost of what is timed next.
  void empty_cache() {
    gpu_cuda::read_memory(scratch, scratch_bytes, static_cast<char*>(scratch) + scratch_bytes,
                          {device, stream});
  }

  /// A launch recorded `times` over, or nullptr where it cannot be.
  cudaGraphExec_t record(const Launch& launch, int times) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return nullptr;
    bool launched = true;
    try {
      for (int i = 0; i < times; ++i) launch({device, stream});
    } catch (const std::exception&) {
      launched = false;
    }
    if (cudaStreamEndCapture(stream, &graph) != cudaSuccess || !launched || !graph ||
        cudaGraphInstantiate(&executable, graph, 0) != cudaSuccess)
      executable = nullptr;
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();  // what the attempt left
    return executable;
  }
};

GpuClock::GpuClock(Device device) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || device.index >= count)
    throw std::runtime_error("[cuda] expected a device below " +
                             std::to_string(error == cudaSuccess ? count : 0) +
                             ", got cuda:" + std::to_string(device.index) + " (" + cudaGetErrorString(error) +
                             "): install the driver, or use device cpu");
  check(cudaSetDevice(device.index), "selecting the device");
  state_ = std::make_unique<State>(device);
  check(cudaStreamCreateWithFlags(&state_->stream, cudaStreamNonBlocking), "making a stream");
  check(cudaEventCreate(&state_->begin), "making an event");
  check(cudaEventCreate(&state_->end), "making an event");
}

GpuClock::~GpuClock() {
  cudaFree(state_->scratch);
  cudaEventDestroy(state_->begin);
  cudaEventDestroy(state_->end);
  cudaStreamDestroy(state_->stream);
}

GpuFacts GpuClock::facts() const {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, state_->device.index), "asking the device");
  return {p.name,
          state_->management.driver(),
          p.multiProcessorCount,
          p.major,
          p.minor,
          static_cast<double>(p.totalGlobalMem),
          static_cast<double>(p.l2CacheSize)};
}

GpuState GpuClock::state() const {
  return state_->management.state();
}
Stream GpuClock::stream() const {
  return {state_->device, state_->stream};
}

GpuSamples GpuClock::time(const Launch& launch, const GpuTiming& wanted) {
  State& s = *state_;
  if (wanted.cold) s.need_scratch(facts().l2_cache);
  const Stream stream{s.device, s.stream};
  GpuSamples result;
  launch(stream);  // kernels are loaded, plans made
  check(cudaStreamSynchronize(s.stream), "the first launch");
  // End to end, on a quiet device.
  for (int i = 0; i < 5; ++i) {
    const auto start = Clock::now();
    launch(stream);
    check(cudaStreamSynchronize(s.stream), "a launch");
    result.end_to_end.push_back(since(start));
  }
  const double about = *std::min_element(result.end_to_end.begin(), result.end_to_end.end());
  const int times = wanted.cold ? 1 : std::clamp(static_cast<int>(1e-3 / about), 1, 200);
  result.launches = times;
  const cudaGraphExec_t graph = s.record(launch, times);
  const auto start = Clock::now();
  for (int i = 0;; ++i) {
    if (wanted.cold) s.empty_cache();
    check(cudaEventRecord(s.begin, s.stream), "an event");
    if (graph)
      check(cudaGraphLaunch(graph, s.stream), "a replay");
    else
      for (int n = 0; n < times; ++n) launch(stream);
    check(cudaEventRecord(s.end, s.stream), "an event");
    check(cudaEventSynchronize(s.end), "a launch");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, s.begin, s.end), "the time of a launch");
    if (i > 0) result.device.push_back(static_cast<double>(ms) * 1e-3 / times);
    if (i % 16 == 15 || i == wanted.samples) {
      result.state = s.management.state();
      // Heat and hardware brakes; a power cap under full load is how the card works.
      if ((result.state.slowed & ~0x4ull) && result.device.size() > 16) {
        result.discarded += 16;
        result.device.resize(result.device.size() - 16);
      }
    }
    const auto done = static_cast<int>(result.device.size());
    if (done < std::min(wanted.samples, 5)) continue;
    result.quiet = done >= wanted.samples && half_interval(result.device) <= wanted.noise;
    if (result.quiet || since(start) > wanted.seconds) break;
  }
  if (graph) cudaGraphExecDestroy(graph);
  return result;
}

double GpuClock::seconds(const Launch& launch, int64_t launches) {
  State& s = *state_;
  check(cudaEventRecord(s.begin, s.stream), "an event");
  for (int64_t i = 0; i < launches; ++i) launch({s.device, s.stream});
  check(cudaEventRecord(s.end, s.stream), "an event");
  check(cudaEventSynchronize(s.end), "a launch");
  float ms = 0;
  check(cudaEventElapsedTime(&ms, s.begin, s.end), "the time of a launch");
  return static_cast<double>(ms) * 1e-3;
}

double GpuClock::copy_bandwidth() {
  constexpr std::size_t bytes = std::size_t{1} << 30;
  constexpr int copies = 8, samples = 9;
  void *from = nullptr, *to = nullptr;
  check(cudaMalloc(&from, bytes), "memory to copy");
  check(cudaMalloc(&to, bytes), "memory to copy");
  check(cudaMemset(from, 0x5A, bytes), "filling");
  const Launch by_driver = [&](Stream stream) {
    check(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream.handle)),
        "a copy");
  };
  const Launch by_kernel = [&](Stream stream) {
    gpu_cuda::copy_memory(from, to, static_cast<int64_t>(bytes), stream);
  };
  double best = 0;
  for (const Launch& launch : {by_driver, by_kernel}) {
    seconds(launch, 1);
    std::vector<double> taken;
    for (int i = 0; i < samples; ++i) taken.push_back(seconds(launch, copies) / copies);
    std::nth_element(taken.begin(), taken.begin() + samples / 2, taken.end());
    best = std::max(best, 2.0 * static_cast<double>(bytes) / taken[samples / 2]);
  }
  cudaFree(from);
  cudaFree(to);
  return best;
}

void GpuClock::start_profiler() {
  check(cudaProfilerStart(), "starting the profiler");
}
void GpuClock::stop_profiler() {
  check(cudaStreamSynchronize(state_->stream), "a launch");
  check(cudaProfilerStop(), "stopping the profiler");
}

}  // namespace rtfq::kernels::runtime
