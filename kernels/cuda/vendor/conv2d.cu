// Convolutions by NVIDIA's libraries: what stands between them and this project's conventions. No kernels of
// its own: a slice of f32 weights is copied by the driver, weights in bf16 are rounded by `pack_dense`, and a
// dense weight gradient is added into its parent's by `add_pieces`. Never run on a GPU.
#include <cuda_runtime_api.h>

#include <stdexcept>

#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/conv2d_wgrad.h"
#include "kernels/cuda/vendor/blas.h"
#include "kernels/cuda/vendor/cudnn.h"
#include "kernels/cuda/vendor/entries.h"

namespace rtfq::kernels::vendor {
namespace {

bool is_half(const Conv2dShape& s) {
  return s.x_type == RTFQ_BF16;
}
std::size_t dense_bytes(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.k * s.r * s.s * s.c * (is_half(s) ? 2 : 4));
}
int64_t rows(const Conv2dShape& s) {
  return s.n * s.h * s.w;
}
/// Elements from a filter to the next where the library reads weights.
int64_t weight_pitch(const Conv2dShape& s) {
  return is_half(s) ? s.c : s.c_parent;
}

/// y[rows,k] = x[rows,c] w[k,c]^T
Product product(const Conv2dForward&, const Conv2dShape& s) {
  return {rows(s), s.k, s.c, false, true, s.c, weight_pitch(s), s.k, s.x_type, s.x_type};
}
/// dx[rows,c] = g[rows,k] w[k,c]
Product product(const Conv2dDgrad&, const Conv2dShape& s) {
  return {rows(s), s.c, s.k, false, false, s.k, weight_pitch(s), s.c, s.x_type, s.x_type};
}
/// dw[k,c] (+)= g[rows,k]^T x[rows,c], into the parent's rows
Product product(const Conv2dWgrad&, const Conv2dShape& s) {
  return {s.k, s.c, rows(s), true, false, s.k, s.c, s.c_parent, s.x_type, RTFQ_F32};
}

constexpr Direction direction(const Conv2dForward&) {
  return Direction::forward;
}
constexpr Direction direction(const Conv2dDgrad&) {
  return Direction::dgrad;
}
constexpr Direction direction(const Conv2dWgrad&) {
  return Direction::wgrad;
}

}  // namespace

template <class Op>
const char* conv2d_blas_unsupported(const Conv2dShape& s) {
  if (s.r != 1 || s.s != 1 || s.stride != 1 || s.pad != 0)
    return "takes 1x1 filters of stride 1 without padding";
  const bool f32 = s.x_type == RTFQ_F32 && s.w_type == RTFQ_F32 && s.y_type == RTFQ_F32;
  const bool half = is_half(s) && s.w_type == RTFQ_F32 && s.y_type == RTFQ_BF16;
  if (!f32 && !half) return "takes f32 or bf16 activations with f32 weights";
  return blas_unsupported(product(Op{}, s));
}
template const char* conv2d_blas_unsupported<Conv2dForward>(const Conv2dShape&);
template const char* conv2d_blas_unsupported<Conv2dDgrad>(const Conv2dShape&);
template const char* conv2d_blas_unsupported<Conv2dWgrad>(const Conv2dShape&);

std::size_t conv2d_blas_bytes(const Conv2dShape&) {
  return blas_workspace;
}
std::size_t conv2d_blas_packed(const Conv2dShape& s) {
  return is_half(s) ? dense_bytes(s) : 0;
}
void conv2d_blas(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  multiply(product(Conv2dForward{}, s), a.x, a.packed, a.y, false, a.workspace, stream);
}
void conv2d_blas(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  multiply(product(Conv2dDgrad{}, s), a.g, a.packed, a.dx, false, a.workspace, stream);
}
void conv2d_blas(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  if (a.scale)
    throw std::invalid_argument("[conv2d] cublas expects no scale, which codes have: prefer another one");
  multiply(product(Conv2dWgrad{}, s), a.g, a.x, a.dw, a.accumulate, a.workspace, stream);
}

template <class Op>
const char* conv2d_cudnn_unsupported(const Conv2dShape& s) {
  return cudnn_unsupported(direction(Op{}), s);
}
template const char* conv2d_cudnn_unsupported<Conv2dForward>(const Conv2dShape&);
template const char* conv2d_cudnn_unsupported<Conv2dDgrad>(const Conv2dShape&);
template const char* conv2d_cudnn_unsupported<Conv2dWgrad>(const Conv2dShape&);

/// The dense weight gradient comes first.
template <class Op>
std::size_t conv2d_cudnn_bytes(const Conv2dShape& s) {
  const std::size_t dense = direction(Op{}) == Direction::wgrad ? (dense_bytes(s) + 255) / 256 * 256 : 0;
  return dense + cudnn_workspace(direction(Op{}), s);
}
template std::size_t conv2d_cudnn_bytes<Conv2dForward>(const Conv2dShape&);
template std::size_t conv2d_cudnn_bytes<Conv2dDgrad>(const Conv2dShape&);
template std::size_t conv2d_cudnn_bytes<Conv2dWgrad>(const Conv2dShape&);

std::size_t conv2d_cudnn_packed(const Conv2dShape& s) {
  return is_half(s) || s.c != s.c_parent ? dense_bytes(s) : 0;
}
void conv2d_cudnn(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  cudnn_run(Direction::forward, s, const_cast<void*>(a.x), const_cast<void*>(a.packed), a.y, a.workspace,
            stream);
}
void conv2d_cudnn(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  cudnn_run(Direction::dgrad, s, a.dx, const_cast<void*>(a.packed), const_cast<void*>(a.g), a.workspace,
            stream);
}
void conv2d_cudnn(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  auto* dense = static_cast<float*>(a.workspace);
  auto* workspace = static_cast<std::byte*>(a.workspace) + conv2d_cudnn_bytes<Conv2dWgrad>(s) -
                    cudnn_workspace(Direction::wgrad, s);
  cudnn_run(Direction::wgrad, s, const_cast<void*>(a.x), dense, const_cast<void*>(a.g), workspace, stream);
  gpu_cuda::Wgrad w{};
  w.z.columns = static_cast<int>(s.k);
  w.z.channels = static_cast<int>(s.c);
  w.columns = static_cast<int>(s.r * s.s * s.c);
  w.pieces = 1;
  gpu_cuda::add_pieces(s, w, nullptr, gpu_cuda::wgrad_to(s, a, dense), stream);
}

void conv2d_pack_dense(const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
  if (is_half(s)) return gpu_cuda::pack_dense(s, weights, packed, stream);
  const auto own = static_cast<std::size_t>(s.c) * 4, parent = static_cast<std::size_t>(s.c_parent) * 4;
  const cudaError_t status =
      cudaMemcpy2DAsync(packed, own, weights, parent, own, static_cast<std::size_t>(s.k * s.r * s.s),
                        cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream.handle));
  if (status != cudaSuccess)
    throw std::runtime_error(std::string("[conv2d] copying a slice of the weights failed: ") +
                             cudaGetErrorString(status));
}

}  // namespace rtfq::kernels::vendor
