#include "kernels/cuda/vendor/cudnn.h"

#include <cudnn.h>

#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/runtime/library.h"

namespace rtfq::kernels::vendor {
namespace {

const runtime::Library& dnn() {
  static const runtime::Library library({"libcudnn.so.9", "libcudnn.so"}, "cudnn");
  return library;
}

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw std::runtime_error(std::string("[cudnn] ") + what + " failed with status " +
                             std::to_string(static_cast<int>(status)));
}

cudnnHandle_t handle() {
  static const cudnnHandle_t made = [] {
    cudnnHandle_t h = nullptr;
    check(RTFQ_CALL(dnn(), cudnnCreate)(&h), "cudnnCreate");
    return h;
  }();
  return made;
}

/// Descriptions of a convolution and the library's choice for it. They live as long as the program.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = 0;
  std::size_t workspace = 0;
  std::string refusal;
};

constexpr std::size_t most_workspace = std::size_t{1} << 30;

bool is_plain(cudnnConvolutionFwdAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
}
bool is_plain(cudnnConvolutionBwdDataAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
}
bool is_plain(cudnnConvolutionBwdFilterAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
}

/// The library's first answer that keeps the numeric contract. In f32 its default arithmetic may be TF32.
template <class Performance>
void take(Plan& plan, const Performance* found, int count, bool half) {
  for (int i = 0; i < count; ++i)
    if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].memory <= most_workspace &&
        found[i].determinism == CUDNN_DETERMINISTIC && is_plain(found[i].algo) &&
        (half || found[i].mathType == CUDNN_FMA_MATH)) {
      plan.algorithm = static_cast<int>(found[i].algo);
      plan.workspace = found[i].memory;
      check(RTFQ_CALL(dnn(), cudnnSetConvolutionMathType)(plan.convolution, found[i].mathType),
            "setting the arithmetic");
      return;
    }
  plan.refusal = "[cudnn] has no algorithm for this shape that keeps the numeric contract";
}

void choose_algorithm(Plan& plan, Direction direction, bool half) {
  constexpr int most = 8;
  int count = 0;
  switch (direction) {
    case Direction::forward: {
      cudnnConvolutionFwdAlgoPerf_t found[most];
      check(RTFQ_CALL(dnn(), cudnnGetConvolutionForwardAlgorithm_v7)(
                handle(), plan.x, plan.w, plan.convolution, plan.y, most, &count, found),
            "choosing an algorithm");
      return take(plan, found, count, half);
    }
    case Direction::dgrad: {
      cudnnConvolutionBwdDataAlgoPerf_t found[most];
      check(RTFQ_CALL(dnn(), cudnnGetConvolutionBackwardDataAlgorithm_v7)(
                handle(), plan.w, plan.y, plan.convolution, plan.x, most, &count, found),
            "choosing an algorithm");
      return take(plan, found, count, half);
    }
    case Direction::wgrad: {
      cudnnConvolutionBwdFilterAlgoPerf_t found[most];
      check(RTFQ_CALL(dnn(), cudnnGetConvolutionBackwardFilterAlgorithm_v7)(
                handle(), plan.x, plan.y, plan.convolution, plan.w, most, &count, found),
            "choosing an algorithm");
      return take(plan, found, count, half);
    }
  }
}

Plan make_plan(Direction direction, const Conv2dShape& s) {
  Plan plan;
  const bool half = s.x_type == RTFQ_BF16;
  const cudnnDataType_t type = half ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  const auto number = [](int64_t value) { return static_cast<int>(value); };
  try {
    check(RTFQ_CALL(dnn(), cudnnCreateTensorDescriptor)(&plan.x), "describing x");
    check(RTFQ_CALL(dnn(), cudnnCreateTensorDescriptor)(&plan.y), "describing y");
    check(RTFQ_CALL(dnn(), cudnnCreateFilterDescriptor)(&plan.w), "describing the weights");
    check(RTFQ_CALL(dnn(), cudnnCreateConvolutionDescriptor)(&plan.convolution),
          "describing the convolution");
    const auto tensor = RTFQ_CALL(dnn(), cudnnSetTensor4dDescriptor);
    check(tensor(plan.x, CUDNN_TENSOR_NHWC, type, number(s.n), number(s.c), number(s.h), number(s.w)),
          "describing x");
    check(tensor(plan.y, CUDNN_TENSOR_NHWC, type, number(s.n), number(s.k), number(output_height(s)),
                 number(output_width(s))),
          "describing y");
    check(RTFQ_CALL(dnn(), cudnnSetFilter4dDescriptor)(plan.w, type, CUDNN_TENSOR_NHWC, number(s.k),
                                                       number(s.c), number(s.r), number(s.s)),
          "describing the weights");
    check(RTFQ_CALL(dnn(), cudnnSetConvolution2dDescriptor)(plan.convolution, number(s.pad), number(s.pad),
                                                            number(s.stride), number(s.stride), 1, 1,
                                                            CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "describing the convolution");
    check(RTFQ_CALL(dnn(), cudnnSetConvolutionMathType)(plan.convolution,
                                                        half ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH),
          "setting the arithmetic");
    choose_algorithm(plan, direction, half);
  } catch (const std::exception& error) {
    plan.refusal = error.what();
  }
  return plan;
}

/// What cuDNN sees of a shape: all of it but the parent of its dense weights.
const Plan& plan_of(Direction direction, const Conv2dShape& s) {
  using Key = std::tuple<Direction, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                         int64_t, rtfq_dtype>;
  static std::mutex mutex;
  static std::map<Key, Plan> plans;
  const std::lock_guard lock(mutex);
  const Key key{direction, s.n, s.h, s.w, s.c, s.k, s.r, s.s, s.stride, s.pad, s.x_type};
  const auto at = plans.find(key);
  return at != plans.end() ? at->second : plans.emplace(key, make_plan(direction, s)).first->second;
}

}  // namespace

const std::string& cudnn_missing() {
  return dnn().missing();
}

const char* cudnn_unsupported(Direction direction, const Conv2dShape& s) {
  const bool f32 = s.x_type == RTFQ_F32 && s.w_type == RTFQ_F32 && s.y_type == RTFQ_F32;
  const bool half = s.x_type == RTFQ_BF16 && s.w_type == RTFQ_F32 && s.y_type == RTFQ_BF16;
  if (!f32 && !half) return "takes f32 or bf16 activations with f32 weights";
  if (half && direction == Direction::wgrad) return "would round the gradient of bf16 operands to bf16";
  constexpr int64_t most = int64_t{1} << 31;
  if (s.n * s.h * s.w * s.c >= most || s.n * output_height(s) * output_width(s) * s.k >= most ||
      s.k * s.r * s.s * s.c >= most)
    return "takes operands of fewer than 2^31 elements";
  if (!cudnn_missing().empty()) return cudnn_missing().c_str();
  const Plan& plan = plan_of(direction, s);
  return plan.refusal.empty() ? nullptr : plan.refusal.c_str();
}

std::size_t cudnn_workspace(Direction direction, const Conv2dShape& s) {
  return plan_of(direction, s).workspace;
}

void cudnn_run(Direction direction, const Conv2dShape& s, void* x, void* w, void* y, void* workspace,
               Stream stream) {
  if (const char* reason = cudnn_unsupported(direction, s)) throw std::runtime_error(reason);
  for (const void* operand : {x, w, y})
    if (reinterpret_cast<uintptr_t>(operand) % 16)
      throw std::invalid_argument(
          "[cudnn] expected operands at multiples of 16 bytes: align them, or prefer another implementation");
  const Plan& plan = plan_of(direction, s);
  const float one = 1, zero = 0;
  static std::mutex mutex;  // the library's handle has one stream at a time
  const std::lock_guard lock(mutex);
  check(RTFQ_CALL(dnn(), cudnnSetStream)(handle(), static_cast<cudaStream_t>(stream.handle)),
        "setting the stream");
  switch (direction) {
    case Direction::forward:
      check(RTFQ_CALL(dnn(), cudnnConvolutionForward)(handle(), &one, plan.x, x, plan.w, w, plan.convolution,
                                                      static_cast<cudnnConvolutionFwdAlgo_t>(plan.algorithm),
                                                      workspace, plan.workspace, &zero, plan.y, y),
            "cudnnConvolutionForward");
      return;
    case Direction::dgrad:
      check(RTFQ_CALL(dnn(), cudnnConvolutionBackwardData)(
                handle(), &one, plan.w, w, plan.y, y, plan.convolution,
                static_cast<cudnnConvolutionBwdDataAlgo_t>(plan.algorithm), workspace, plan.workspace, &zero,
                plan.x, x),
            "cudnnConvolutionBackwardData");
      return;
    case Direction::wgrad:
      check(RTFQ_CALL(dnn(), cudnnConvolutionBackwardFilter)(
                handle(), &one, plan.x, x, plan.y, y, plan.convolution,
                static_cast<cudnnConvolutionBwdFilterAlgo_t>(plan.algorithm), workspace, plan.workspace,
                &zero, plan.w, w),
            "cudnnConvolutionBackwardFilter");
      return;
  }
}

}  // namespace rtfq::kernels::vendor
