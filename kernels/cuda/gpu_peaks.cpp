// A GPU's arithmetic ceilings by cuBLASLt: the product of two square matrices of normal numbers.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cuda/vendor/blas.h"
#include "kernels/runtime/gpu_clock.h"

namespace rtfq::kernels::runtime {
namespace {

constexpr int64_t side = 8192;

/// Device memory for the time of a measurement.
struct Memory {
  Device device;
  void* data;
  Memory(Device d, std::size_t bytes) : device(d), data(allocate(d, bytes)) {}
  ~Memory() { release(device, data); }
};

/// `count` operands drawn once for 2^20 and repeated: zeros would run faster than real data.
void fill(const Memory& memory, rtfq_dtype type, std::size_t count) {
  constexpr std::size_t drawn = std::size_t{1} << 20;
  std::vector<std::byte> host(drawn * static_cast<std::size_t>(element_bytes(type)));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < drawn; ++i) {
    const float value = normal(random);
    if (type == RTFQ_F32)
      std::memcpy(host.data() + 4 * i, &value, 4);
    else if (type == RTFQ_BF16)
      reinterpret_cast<bf16*>(host.data())[i] = to_bf16(value);
    else
      host[i] = static_cast<std::byte>(static_cast<int8_t>(std::clamp(40 * value, -128.0f, 127.0f)));
  }
  for (std::size_t at = 0; at < count; at += drawn)
    copy(static_cast<std::byte*>(memory.data) + at * host.size() / drawn, memory.device, host.data(), {},
         host.size(), {memory.device});
}

double peak(GpuClock& clock, Device device, rtfq_dtype in, rtfq_dtype out) {
  constexpr auto count = static_cast<std::size_t>(side * side);
  const Memory a(device, count * static_cast<std::size_t>(element_bytes(in))),
      b(device, count * static_cast<std::size_t>(element_bytes(in))),
      c(device, count * static_cast<std::size_t>(element_bytes(out))),
      workspace(device, vendor::blas_workspace);
  fill(a, in, count);
  fill(b, in, count);
  const vendor::Product product{side, side, side, false, true, side, side, side, in, out};
  const auto samples = clock.time(
      [&](Stream stream) {
        vendor::multiply(product, a.data, b.data, c.data, false, workspace.data, stream);
      },
      {false, 9, 0.01, 0.15});
  return 2.0 * side * side * side / *std::min_element(samples.device.begin(), samples.device.end());
}

}  // namespace

GpuPeaks measure_gpu(GpuClock& clock, Device device) {
  GpuPeaks peaks;
  peaks.copy = clock.copy_bandwidth();
  if (!vendor::blas_missing().empty()) return peaks;
  peaks.by = "cuBLASLt, 8192 x 8192 x 8192";
  peaks.f32 = peak(clock, device, RTFQ_F32, RTFQ_F32);
  peaks.bf16 = peak(clock, device, RTFQ_BF16, RTFQ_BF16);
  peaks.int8 = peak(clock, device, RTFQ_S8, RTFQ_S32);
  return peaks;
}

}  // namespace rtfq::kernels::runtime
