// NVIDIA's libraries in the lists: behind everything of ours, chosen by preference alone, and where they
// cannot run they say why instead of failing when they are launched.
#include <catch2/catch.hpp>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/linear.h"
#include "tests/support/skip.h"

using namespace rtfq;
using namespace rtfq::kernels;

namespace {

template <class Op>
const typename Op::Impl* find(Backend backend, const std::string& name) {
  for (const auto& implementation : Op::implementations(backend))
    if (name == implementation.name) return &implementation;
  return nullptr;
}

template <class Op>
void check_list(const std::string& name) {
  INFO(Op::name << ", " << name);
  CHECK(find<Op>(Backend::simt, name) == nullptr);
  if (!built_with_cuda) return;
  const auto *own = find<Op>(Backend::cuda, name), *naive = find<Op>(Backend::cuda, "naive");
  REQUIRE(own);
  REQUIRE(naive);
  CHECK(naive < own);
}

/// Preferring it chooses it exactly where it has no reason to refuse.
template <class Op>
void check_choice(const std::string& name, const typename Op::Shape& shape) {
  const auto* own = find<Op>(Backend::cuda, name);
  REQUIRE(own);
  const char* reason = own->unsupported(shape);
  const std::string usual = choose<Op>(Backend::cuda, shape).name;
  INFO(Op::name << ", " << name << ": " << (reason ? reason : "takes it"));
  CHECK(usual != name);
  prefer(Op::name, name);
  const std::string chosen = choose<Op>(Backend::cuda, shape).name;
  prefer(Op::name, "");
  CHECK(chosen == (reason ? usual : name));
}

template <class Op, class Shape>
void check_refusal(const std::string& name, const Shape& shape, const std::string& expected) {
  const char* reason = find<Op>(Backend::cuda, name)->unsupported(shape);
  INFO(Op::name << ", " << name << ": " << (reason ? reason : "takes it"));
  REQUIRE(reason);
  CHECK(std::string(reason).find(expected) != std::string::npos);
}

}  // namespace

TEST_CASE("vendor libraries: not on the executor, and behind the plain kernels of a GPU") {
  for (const char* name : {"cublas", "cudnn"}) {
    check_list<Conv2dForward>(name);
    check_list<Conv2dDgrad>(name);
    check_list<Conv2dWgrad>(name);
  }
  check_list<LinearForward>("cublas");
  check_list<LinearDgrad>("cublas");
  check_list<LinearWgrad>("cublas");
}

TEST_CASE("vendor libraries: a preference holds where they have no reason to refuse") {
  if (!built_with_cuda) return test::skip("this build has no CUDA backend (RTFQ_CUDA=ON)");
  for (const int64_t filter : {1, 3}) {
    const auto f32 = make_conv2d_shape(2, 8, 8, 24, 32, filter, 1, filter / 2, 48);
    for (const auto& s : {f32, with_types(f32, RTFQ_BF16, RTFQ_F32, RTFQ_BF16)})
      for (const char* name : {"cublas", "cudnn"}) {
        check_choice<Conv2dForward>(name, s);
        check_choice<Conv2dDgrad>(name, s);
        check_choice<Conv2dWgrad>(name, s);
      }
  }
  const auto linear = make_linear_shape(64, 512, 31, 512);
  check_choice<LinearForward>("cublas", linear);
  check_choice<LinearDgrad>("cublas", linear);
  check_choice<LinearWgrad>("cublas", linear);
}

TEST_CASE("vendor libraries: what they cannot compute is refused before anything is launched") {
  if (!built_with_cuda) return test::skip("this build has no CUDA backend (RTFQ_CUDA=ON)");
  const auto three = make_conv2d_shape(2, 8, 8, 32, 32, 3, 1, 1, 32);
  check_refusal<Conv2dForward>("cublas", three, "1x1");
  check_refusal<Conv2dWgrad>("cublas", make_conv2d_shape(2, 8, 8, 32, 32, 1, 2, 0, 32), "stride 1");
  const auto codes = with_types(make_conv2d_shape(2, 8, 8, 32, 32, 1, 1, 0, 32), RTFQ_U8, RTFQ_S8, RTFQ_F32);
  check_refusal<Conv2dForward>("cublas", codes, "f32 or bf16");
  check_refusal<Conv2dForward>("cudnn", codes, "f32 or bf16");
  check_refusal<Conv2dWgrad>("cudnn", with_types(three, RTFQ_BF16, RTFQ_F32, RTFQ_BF16), "bf16");
  check_refusal<Conv2dForward>("cudnn", make_conv2d_shape(4096, 256, 256, 16, 16, 3, 1, 1, 16), "2^31");
  const auto linear = with_types(make_linear_shape(4, 32, 8, 32), RTFQ_U8, RTFQ_S8, RTFQ_F32);
  check_refusal<LinearForward>("cublas", linear, "f32");
}
