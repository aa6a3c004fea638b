#include "kernels/cuda/vendor/blas.h"

#include <cublasLt.h>

#include <map>
#include <mutex>

#include "kernels/runtime/library.h"

namespace rtfq::kernels::vendor {
namespace {

const runtime::Library& lt() {
  static const runtime::Library library({"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}, "cublas");
  return library;
}

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(std::string("[cublas] ") + what + " failed with status " +
                             std::to_string(static_cast<int>(status)));
}

/// A product's descriptions and the algorithm that the library thinks best. They live as long as the program.
struct Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulHeuristicResult_t choice{};
  std::string refusal;
};

cudaDataType_t type_of(rtfq_dtype type) {
  switch (type) {
    case RTFQ_F32:
      return CUDA_R_32F;
    case RTFQ_BF16:
      return CUDA_R_16BF;
    case RTFQ_S8:
      return CUDA_R_8I;
    case RTFQ_S32:
      return CUDA_R_32I;
    default:
      throw std::invalid_argument(std::string("[cublas] expected f32, bf16 or s8 operands, got ") +
                                  type_name(type));
  }
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t h = nullptr;
    check(RTFQ_CALL(lt(), cublasLtCreate)(&h), "cublasLtCreate");
    return h;
  }();
  return made;
}

/// What an algorithm may rely on: the workspace, the matrices' alignment, and that pieces of a sum are added
/// in a step of their own, which is the one way that gives the same bits again.
void set_preference(cublasLtMatmulPreference_t preference, const Product& p) {
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(RTFQ_CALL(lt(), cublasLtMatmulPreferenceSetAttribute)(preference, attribute, &value, sizeof value),
          "saying what an algorithm may rely on");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{blas_workspace});
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto matrix :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    set(matrix, p.alignment);
}

/// The library counts rows down the columns: it is asked for C^T = op(B)^T op(A)^T, the same memory read its
/// way.
void describe(Plan& plan, const Product& p) {
  const bool codes = p.in == RTFQ_S8;
  check(
      RTFQ_CALL(lt(), cublasLtMatmulDescCreate)(
          &plan.operation, codes ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F, codes ? CUDA_R_32I : CUDA_R_32F),
      "cublasLtMatmulDescCreate");
  const cublasOperation_t first = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                          second = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  const auto set = RTFQ_CALL(lt(), cublasLtMatmulDescSetAttribute);
  check(set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first),
        "setting the first transposition");
  check(set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second),
        "setting the second transposition");
  const auto layout = [&](cublasLtMatrixLayout_t* made, rtfq_dtype type, int64_t rows, int64_t columns,
                          int64_t ld) {
    check(RTFQ_CALL(lt(), cublasLtMatrixLayoutCreate)(made, type_of(type), static_cast<uint64_t>(rows),
                                                      static_cast<uint64_t>(columns), ld),
          "cublasLtMatrixLayoutCreate");
  };
  layout(&plan.a, p.in, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb);
  layout(&plan.b, p.in, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda);
  layout(&plan.c, p.out, p.n, p.m, p.ldc);
}

/// A plan that cannot be made says why in `refusal`.
Plan make_plan(const Product& p) {
  Plan plan;
  cublasLtMatmulPreference_t preference = nullptr;
  try {
    const cublasLtHandle_t library = handle();
    describe(plan, p);
    check(RTFQ_CALL(lt(), cublasLtMatmulPreferenceCreate)(&preference), "cublasLtMatmulPreferenceCreate");
    set_preference(preference, p);
    int found = 0;
    check(RTFQ_CALL(lt(), cublasLtMatmulAlgoGetHeuristic)(library, plan.operation, plan.a, plan.b, plan.c,
                                                          plan.c, preference, 1, &plan.choice, &found),
          "choosing an algorithm");
    if (found < 1 || plan.choice.state != CUBLAS_STATUS_SUCCESS)
      plan.refusal = "[cublas] has no algorithm for this product";
  } catch (const std::exception& error) {
    plan.refusal = error.what();
  }
  if (preference) RTFQ_CALL(lt(), cublasLtMatmulPreferenceDestroy)(preference);
  return plan;
}

const Plan& plan_of(const Product& p) {
  static std::mutex mutex;
  static std::map<Product, Plan> plans;
  const std::lock_guard lock(mutex);
  const auto at = plans.find(p);
  return at != plans.end() ? at->second : plans.emplace(p, make_plan(p)).first->second;
}

}  // namespace

const std::string& blas_missing() {
  return lt().missing();
}

const char* blas_unsupported(const Product& p) {
  if (!blas_missing().empty()) return blas_missing().c_str();
  const Plan& plan = plan_of(p);
  return plan.refusal.empty() ? nullptr : plan.refusal.c_str();
}

void multiply(const Product& p, const void* a, const void* b, void* c, bool accumulate, void* workspace,
              Stream stream) {
  if (const char* reason = blas_unsupported(p)) throw std::runtime_error(reason);
  for (const void* matrix : {a, b, static_cast<const void*>(c)})
    if (reinterpret_cast<uintptr_t>(matrix) % p.alignment)
      throw std::invalid_argument("[cublas] expected matrices at multiples of " +
                                  std::to_string(p.alignment) +
                                  " bytes: align them, or prefer another implementation");
  const Plan& plan = plan_of(p);
  const float one = 1, old = accumulate ? 1.0f : 0.0f;
  const int32_t one_code = 1, old_code = accumulate ? 1 : 0;
  const bool codes = p.in == RTFQ_S8;
  check(RTFQ_CALL(lt(), cublasLtMatmul)(
            handle(), plan.operation, codes ? static_cast<const void*>(&one_code) : &one, b, plan.a, a,
            plan.b, codes ? static_cast<const void*>(&old_code) : &old, c, plan.c, c, plan.c,
            &plan.choice.algo, workspace, blas_workspace, static_cast<cudaStream_t>(stream.handle)),
        "cublasLtMatmul");
}

}  // namespace rtfq::kernels::vendor
