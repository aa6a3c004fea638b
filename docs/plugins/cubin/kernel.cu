// What a compiler such as Triton leaves: a kernel in a cubin, and how to launch it in launch.json. Either output may be
// null.
//
//   nvcc -cubin -arch=sm_80 -fmad=false -o fakequant.cubin docs/plugins/cubin/kernel.cu
#include <cstdint>

extern "C" __global__ void __launch_bounds__(256) fakequant_values(const float* x, const float* step, float* y, uint8_t* codes,
                                                                   int64_t count, int32_t qn, int32_t qp) {
  const float r = __frcp_rn(step[0]);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * 1024;
  for (int64_t i = begin + threadIdx.x; i < begin + 1024 && i < count; i += 256) {
    const float v = fminf(fmaxf(x[i] * r, static_cast<float>(-qn)), static_cast<float>(qp));
    const int code = __float2int_rn(v);
    if (y) y[i] = static_cast<float>(code) * step[0];
    if (codes) codes[i] = static_cast<uint8_t>(code);
  }
}
