// Linear layers in f32 by cuBLASLt; weights are read, and their gradient is added, in the parent's rows. The
// library knows neither our bias nor an accumulated bias gradient: a thread adds the bias to one output, or
// sums one bias's gradient over the batch, in double, in the order of rows. Both are bound by memory: 8 bytes
// an output; 4 bytes a gradient. Never run on a GPU.
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/vendor/blas.h"
#include "kernels/cuda/vendor/entries.h"

namespace rtfq::kernels::vendor {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) add_bias(int64_t count, int64_t k, const float* bias, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < count) y[i] += bias[i % k];
}

__global__ void __launch_bounds__(threads)
    sum_rows(int64_t n, int64_t k, bool accumulate, const float* g, float* dbias) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= k) return;
  double sum = accumulate ? static_cast<double>(dbias[i]) : 0.0;
  for (int64_t row = 0; row < n; ++row) sum += static_cast<double>(g[row * k + i]);
  dbias[i] = static_cast<float>(sum);
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

/// Rows begin wherever a float may.
constexpr uint32_t alignment = 4;

Product product(const LinearForward&, const LinearShape& s) {
  return {s.n, s.k, s.c, false, true, s.c, s.c_parent, s.k, RTFQ_F32, RTFQ_F32, alignment};
}
Product product(const LinearDgrad&, const LinearShape& s) {
  return {s.n, s.c, s.k, false, false, s.k, s.c_parent, s.c, RTFQ_F32, RTFQ_F32, alignment};
}
Product product(const LinearWgrad&, const LinearShape& s) {
  return {s.k, s.c, s.n, true, false, s.k, s.c, s.c_parent, RTFQ_F32, RTFQ_F32, alignment};
}

}  // namespace

template <class Op>
const char* linear_blas_unsupported(const LinearShape& s) {
  return all_f32(s) ? blas_unsupported(product(Op{}, s)) : "takes f32 operands only";
}
template const char* linear_blas_unsupported<LinearForward>(const LinearShape&);
template const char* linear_blas_unsupported<LinearDgrad>(const LinearShape&);
template const char* linear_blas_unsupported<LinearWgrad>(const LinearShape&);

std::size_t linear_blas_bytes(const LinearShape&) {
  return blas_workspace;
}

void linear_blas(const LinearShape& s, const LinearForwardArgs& a, Stream stream) {
  multiply(product(LinearForward{}, s), a.x, a.w, a.y, false, a.workspace, stream);
  if (a.bias)
    simt::launch(add_bias, blocks_for(s.n * s.k), dim3(threads), 0, gpu_cuda::stream_of(stream), s.n * s.k,
                 s.k, a.bias, static_cast<float*>(a.y));
}
void linear_blas(const LinearShape& s, const LinearDgradArgs& a, Stream stream) {
  multiply(product(LinearDgrad{}, s), a.g, a.w, a.dx, false, a.workspace, stream);
}
void linear_blas(const LinearShape& s, const LinearWgradArgs& a, Stream stream) {
  multiply(product(LinearWgrad{}, s), a.g, a.x, a.dw, a.accumulate, a.workspace, stream);
  if (a.dbias)
    simt::launch(sum_rows, blocks_for(s.k), dim3(threads), 0, gpu_cuda::stream_of(stream), s.n, s.k,
                 a.accumulate, static_cast<const float*>(a.g), a.dbias);
}

}  // namespace rtfq::kernels::vendor
