// Race-checks a kernel on a CPU: docs/simt.md. The kernel adds up each row of a matrix, one block a row; with
// `broken` a barrier is missing between a read of shared memory and its reuse.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/simt/executor.h"  // what steers the executor
#include "kernels/simt/simt.h"      // what makes this a CUDA kernel for g++ as well as for nvcc

using namespace rtfq;

__device__ float block_sum(float v, float* part, bool broken) {
  for (int offset = 16; offset; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += part[i];
  if (!broken) __syncthreads();  // nobody writes `part` again before all have read it
  return sum;
}

__global__ void mean_and_variance(const float* x, float* out, int n, bool broken) {
  SIMT_SHARED(float, part, [32]);
  const float* row = x + blockIdx.x * static_cast<unsigned>(n);
  float sum = 0;
  for (unsigned i = threadIdx.x; i < static_cast<unsigned>(n); i += blockDim.x) sum += row[i];
  const float mean = block_sum(sum, part, broken) / static_cast<float>(n);
  float squares = 0;
  for (unsigned i = threadIdx.x; i < static_cast<unsigned>(n); i += blockDim.x)
    squares += (row[i] - mean) * (row[i] - mean);
  const float variance = block_sum(squares, part, broken) / static_cast<float>(n);
  if (threadIdx.x == 0) {
    out[2 * blockIdx.x] = mean;
    out[2 * blockIdx.x + 1] = variance;
  }
}

int main(int argc, char** argv) {
  const bool broken = argc > 1 && argv[1] == std::string("broken");
  const int rows = 4, n = 500;
  std::vector<float> x(rows * n);  // exactly as large as needed: -fsanitize=address then sees a read too far
  for (int i = 0; i < rows * n; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i * 37 % 101);

  const simt::Report report = simt::check(
      [&] {
        std::vector<float> out(2 * rows, NAN);
        simt::launch(mean_and_variance, dim3(rows), dim3(128), 0, nullptr,
                     static_cast<const float*>(x.data()), out.data(), n, broken);
        for (int row = 0; row < rows; ++row) {
          double mean = 0, variance = 0;
          for (int i = 0; i < n; ++i) mean += x[static_cast<std::size_t>(row * n + i)] / double{n};
          for (int i = 0; i < n; ++i)
            variance += std::pow(x[static_cast<std::size_t>(row * n + i)] - mean, 2) / n;
          const float* got = &out[static_cast<std::size_t>(2 * row)];
          if (!(std::abs(got[0] - mean) < 1e-3 && std::abs(got[1] - variance) < 1e-1))
            throw std::runtime_error("row " + std::to_string(row) + " is wrong");
        }
      },
      200);
  if (report.ok) {
    std::printf("right under %d schedules\n", report.schedules);
    return 0;
  }
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(report.seed), report.message.c_str());
  return 1;
}
