// Which convolution runs where: a fall back to the plain kernel would be right and hundreds of times slower.
#include <catch2/catch.hpp>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/linear.h"
#include "kernels/tf32.h"

using namespace rtfq;
using namespace rtfq::kernels;

namespace {

template <class Op>
std::string chosen(const Conv2dShape& s) {
  return choose<Op>(Backend::simt, s).name;
}

}  // namespace

TEST_CASE(
    "convolution on a GPU: tensor cores take every layer of a residual network, its slices and its stem") {
  struct Layer {
    int64_t size, c, k, filter, stride, pad, c_parent;
  };
  const Layer layers[] = {
      {224, 3, 64, 7, 2, 3, 3},      {32, 1, 32, 5, 2, 2, 1},      {56, 64, 64, 1, 1, 0, 64},
      {56, 48, 64, 3, 1, 1, 64},     {56, 256, 512, 1, 2, 0, 256}, {28, 112, 128, 3, 2, 1, 128},
      {7, 2048, 512, 1, 1, 0, 2048}, {14, 16, 16, 3, 1, 1, 256},   {7, 512, 512, 3, 1, 1, 512}};
  for (const Layer& l : layers) {
    const auto s = make_conv2d_shape(64, l.size, l.size, l.c, l.k, l.filter, l.stride, l.pad, l.c_parent);
    const bool stem = l.c < 16;
    INFO(l.filter << "x" << l.filter << ", " << l.c << " to " << l.k);
    const std::string folded = stem ? "_folded" : "";
    const auto half = with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
    CHECK(chosen<Conv2dForward>(half) == (stem ? "mma_bf16_folded" : "wgmma"));
    if (!stem) CHECK(chosen<Conv2dDgrad>(half) == "wgmma");
    CHECK(chosen<Conv2dWgrad>(half) == (stem ? "mma" : "wgmma"));
    for (const rtfq_dtype codes : {RTFQ_U8, RTFQ_S8}) {
      // Where packing the weights pays.
      const bool large = !stem && macs(s) >= (l.filter > 1 ? 2'800'000'000 : 4'000'000'000);
      for (const rtfq_dtype y : {RTFQ_F32, RTFQ_BF16, RTFQ_S32})
        CHECK(chosen<Conv2dForward>(with_types(s, codes, RTFQ_S8, y)) ==
              (large ? "wgmma" : "mma_codes" + folded));
      // A tile of wgmma would be half empty.
      const bool narrow = l.k <= 64 || l.filter * l.filter * l.c <= 64;
      CHECK(chosen<Conv2dWgrad>(with_types(s, codes, RTFQ_F32, RTFQ_BF16)) ==
            (stem || narrow ? "mma" : "wgmma"));
    }
    CHECK(chosen<Conv2dForward>(s) == "f32");
    CHECK(chosen<Conv2dDgrad>(s) == "f32");
    CHECK(chosen<Conv2dWgrad>(s) == "f32");
    const std::string on_cpu = choose<Conv2dForward>(Backend::cpu, s).name;
    const ScopedTf32 scope(true);
    CHECK(chosen<Conv2dForward>(s) == "tf32" + folded);
    if (!stem) CHECK(chosen<Conv2dDgrad>(s) == "tf32");
    CHECK(chosen<Conv2dWgrad>(s) == "tf32");
    CHECK(choose<Conv2dForward>(Backend::cpu, s).name == on_cpu);
  }
  CHECK_FALSE(tf32_allowed());
}

TEST_CASE("convolution on a GPU: what the tensor cores' kernels refuse goes to the plain one") {
  const auto odd = with_types(make_conv2d_shape(1, 8, 8, 24, 24, 3, 1, 1, 24), RTFQ_U8, RTFQ_S8, RTFQ_F32);
  CHECK(chosen<Conv2dForward>(odd) == "naive");  // chunks of 16 codes
  const auto wide =
      with_types(make_conv2d_shape(1, 12, 12, 16, 16, 9, 1, 4, 16), RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  CHECK(chosen<Conv2dForward>(wide) == "naive");
  CHECK(chosen<Conv2dWgrad>(wide) == "naive");
  const auto far =
      with_types(make_conv2d_shape(1, 12, 12, 16, 16, 3, 3, 1, 16), RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  CHECK(chosen<Conv2dForward>(far) == "wgmma");
  CHECK(chosen<Conv2dDgrad>(far) == "naive");
  // Sums of 32-bit offsets.
  const auto large =
      with_types(make_conv2d_shape(4096, 256, 256, 16, 16, 1, 1, 0, 16), RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  CHECK(chosen<Conv2dForward>(large) == "naive");
  CHECK(choose<LinearForward>(Backend::simt, make_linear_shape(64, 512, 31, 512)).name ==
        std::string("warps"));
}
