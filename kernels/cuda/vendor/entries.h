#pragma once
// The entries of NVIDIA's libraries in the lists of convolutions and linear layers: "cublas" (cuBLASLt;
// linear layers, and 1x1 filters of stride 1, which are matrix products) and "cudnn". They stand behind the
// plain kernels, so that only `prefer` chooses them. Both libraries are opened at run time; what is missing,
// or what they refuse, is the entries' reason. The executor runs neither: its lists are without.
//
// RTFQ_VENDOR_ENTRIES(a, b) at the end of a list: "a, b" for GPUs, nothing for the executor.

#if defined(__CUDACC__)
#include "kernels/conv2d.h"
#include "kernels/linear.h"

#define RTFQ_VENDOR_ENTRIES(...) __VA_ARGS__

namespace rtfq::kernels::vendor {

template <class Op>
const char* conv2d_blas_unsupported(const Conv2dShape&);
void conv2d_blas(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_blas(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_blas(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
/// f32 weights are read in place; bf16 needs them rounded.
std::size_t conv2d_blas_packed(const Conv2dShape&);

template <class Op>
const char* conv2d_cudnn_unsupported(const Conv2dShape&);
template <class Op>
std::size_t conv2d_cudnn_bytes(const Conv2dShape&);
void conv2d_cudnn(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_cudnn(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_cudnn(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
/// Dense weights, in x's type; none where they are dense f32 already.
std::size_t conv2d_cudnn_packed(const Conv2dShape&);

/// [k][r][s][c] of the slice, in x's type.
void conv2d_pack_dense(const Conv2dShape&, const void* weights, void* packed, Stream);
std::size_t conv2d_blas_bytes(const Conv2dShape&);

template <class Op>
const char* linear_blas_unsupported(const LinearShape&);
void linear_blas(const LinearShape&, const LinearForwardArgs&, Stream);
void linear_blas(const LinearShape&, const LinearDgradArgs&, Stream);
void linear_blas(const LinearShape&, const LinearWgradArgs&, Stream);
std::size_t linear_blas_bytes(const LinearShape&);

template <class Op>
constexpr bool has_weights = !std::is_same_v<typename Op::Args, Conv2dWgradArgs>;

template <class Op>
constexpr typename Op::Impl conv2d_by_blas() {
  return {"cublas",
          conv2d_blas_unsupported<Op>,
          conv2d_blas,
          conv2d_blas_bytes,
          has_weights<Op> ? conv2d_blas_packed : nullptr,
          has_weights<Op> ? conv2d_pack_dense : nullptr};
}
template <class Op>
constexpr typename Op::Impl conv2d_by_cudnn() {
  return {"cudnn",
          conv2d_cudnn_unsupported<Op>,
          conv2d_cudnn,
          conv2d_cudnn_bytes<Op>,
          has_weights<Op> ? conv2d_cudnn_packed : nullptr,
          has_weights<Op> ? conv2d_pack_dense : nullptr};
}
template <class Op>
constexpr typename Op::Impl linear_by_blas() {
  return {"cublas", linear_blas_unsupported<Op>, linear_blas, linear_blas_bytes};
}

}  // namespace rtfq::kernels::vendor
#else
#define RTFQ_VENDOR_ENTRIES(...)
#endif
