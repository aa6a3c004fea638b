#pragma once
// Matrix products of NVIDIA's cuBLASLt, which is opened at run time where it is installed; nothing here needs
// it to link. Its entries in the lists have never run on a GPU; the products of gpu_peaks.cpp have.

#include <cstddef>
#include <string>

#include "kernels/operator.h"

namespace rtfq::kernels::vendor {

/// Row-major C[m,n] = op(A)[m,k] op(B)[k,n] (+ C): f32 or bf16 operands with sums in f32, or s8 with exact
/// s32 sums (C is s32, B transposed, A not). Leading dimensions are those of the matrices as stored.
struct Product {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  int64_t lda, ldb, ldc;
  rtfq_dtype in, out;
  uint32_t alignment = 16;  ///< bytes that all three matrices begin on a multiple of
  auto operator<=>(const Product&) const = default;
};

/// Why there is no cuBLASLt, or an empty string. Touches no GPU.
const std::string& blas_missing();
/// Bytes that make every algorithm possible.
constexpr std::size_t blas_workspace = std::size_t{32} << 20;
/// Why the library does not multiply so, or nullptr. It is asked once for each product, which needs a GPU;
/// without one, that is the reason.
const char* blas_unsupported(const Product&);
/// C is overwritten, or added to with `accumulate`. Throws std::runtime_error ("[cublas] ...") where
/// `blas_unsupported` has a reason, and std::invalid_argument for matrices that begin elsewhere than
/// promised.
void multiply(const Product&, const void* a, const void* b, void* c, bool accumulate, void* workspace,
              Stream);

}  // namespace rtfq::kernels::vendor
