// The sum of |x| for a quantizer's first step, in CUDA C++: a block sums a stretch in shared memory, a second launch adds
// the blocks' sums in their order. The same file is compiled by nvcc for GPUs and by g++ for the executor of docs/simt.md,
// where the lab verifies it under many thread orders:
//
//   g++ -std=c++20 -O2 -march=x86-64-v3 -ffp-contract=off -I . -fPIC -shared -x c++ -o cuda.so docs/plugins/cuda/plugin.cu
//   build/bin/rtfq-bench run --op fakequant.abs_sum --device simt --impl plugin:./cuda.so --shape count=65536
#include "kernels/plugin.h"
#include "kernels/simt/simt.h"

namespace {

constexpr int threads = 256, stretch = 4096;  // threads and elements of a block

/// Sums over the block in double, the same order whatever the threads' is.
__device__ double block_sum(double mine, double* part) {
  part[threadIdx.x] = mine;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < static_cast<unsigned>(half)) part[threadIdx.x] += part[threadIdx.x + half];
  }
  __syncthreads();
  return part[0];
}

__global__ void __launch_bounds__(threads) sum_blocks(const float* x, int64_t count, bool is_signed, double* sums) {
  SIMT_SHARED(double, part, [threads]);
  const int64_t begin = int64_t{blockIdx.x} * stretch, end = begin + stretch < count ? begin + stretch : count;
  double mine = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += threads) {
    const float value = x[i];
    mine += static_cast<double>(is_signed ? fabsf(value) : value < 0 ? 0.0f : value);  // a NaN stays one
  }
  const double sum = block_sum(mine, part);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(threads) add_blocks(const double* sums, int blocks, float* out) {
  SIMT_SHARED(double, part, [threads]);
  double mine = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += threads) mine += sums[i];
  const double sum = block_sum(mine, part);
  if (threadIdx.x == 0) out[0] = static_cast<float>(sum);
}

int blocks_of(const rtfq_fakequant_shape& s) {
  return static_cast<int>((s.cols + stretch - 1) / stretch);
}

const char* unsupported(const rtfq_operator*, const void* shape) {
  const auto& s = *static_cast<const rtfq_fakequant_shape*>(shape);
  if (s.type != RTFQ_F32) return "takes f32 only";
  return s.rows == 1 && s.groups == 1 ? nullptr : "takes dense tensors only";
}

size_t workspace_bytes(const rtfq_operator*, void*, const void* shape) {
  return static_cast<size_t>(blocks_of(*static_cast<const rtfq_fakequant_shape*>(shape))) * sizeof(double);
}

int launch(const rtfq_operator*, void*, const void* shape, const void* args, void* stream) {
  const auto& s = *static_cast<const rtfq_fakequant_shape*>(shape);
  const auto& a = *static_cast<const rtfq_fakequant_abs_sum_args*>(args);
  const auto on = static_cast<rtfq::simt::stream_t>(stream);
  auto* sums = static_cast<double*>(a.workspace);
  const int blocks = blocks_of(s);
  rtfq::simt::launch(sum_blocks, static_cast<unsigned>(blocks), threads, 0, on, static_cast<const float*>(a.x), s.cols,
                     s.qn > 0, sums);
  rtfq::simt::launch(add_blocks, 1u, threads, 0, on, static_cast<const double*>(sums), blocks, a.out);
  return 0;
}

const rtfq_operator op = [] {
  rtfq_operator o{};
  o.family = "fakequant.abs_sum";
  o.name = "cuda-example";
#ifdef __CUDACC__
  o.device = RTFQ_CUDA_DEVICE;
#else
  o.device = RTFQ_SIMT;
#endif
  o.unsupported = unsupported;
  o.workspace_bytes = workspace_bytes;
  o.launch = launch;
  return o;
}();
const rtfq_operator* const operators[] = {&op};
const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "cuda example", "1", 1, operators};

}  // namespace

extern "C" const rtfq_plugin* rtfq_plugin_entry(uint32_t) {
  return &table;
}
