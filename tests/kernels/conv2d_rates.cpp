// Rates of the convolutions of ResNet-18 at 112 pixels and ResNet-50 at 224, batch 64, in every type.
// Measures, checks nothing, and therefore runs only when asked: test_kernels "[rates]".
// docs/results/conv-cpu.md holds what it printed.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/features.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

struct Layer {
  int64_t filter, stride, c, k, size;
  int64_t n = 64;
  Conv2dShape shape() const { return make_conv2d_shape(n, size, size, c, k, filter, stride, filter / 2, c); }
};

const Layer layers[] = {
    {1, 1, 1536, 1536, 16, 16},  // nothing but a matrix product: the peak
    {7, 2, 3, 64, 112},         {3, 1, 64, 64, 28},    {3, 2, 64, 128, 28},    {1, 2, 64, 128, 28},
    {3, 1, 128, 128, 14},       {3, 2, 128, 256, 14},  {1, 2, 128, 256, 14},   {3, 1, 256, 256, 7},
    {3, 2, 256, 512, 7},        {1, 2, 256, 512, 7},   {3, 1, 512, 512, 4},    {7, 2, 3, 64, 224},
    {1, 1, 64, 64, 56},         {3, 1, 64, 64, 56},    {1, 1, 64, 256, 56},    {1, 1, 256, 64, 56},
    {1, 2, 256, 512, 56},       {3, 2, 128, 128, 56},  {1, 1, 128, 512, 28},   {1, 1, 512, 128, 28},
    {3, 1, 128, 128, 28},       {1, 2, 512, 1024, 28}, {3, 2, 256, 256, 28},   {1, 1, 256, 1024, 14},
    {1, 1, 1024, 256, 14},      {3, 1, 256, 256, 14},  {1, 2, 1024, 2048, 14}, {3, 2, 512, 512, 14},
    {1, 1, 512, 2048, 7},       {1, 1, 2048, 512, 7},  {3, 1, 512, 512, 7},
};

/// Numbers of any type: small, and none that slows arithmetic down.
void fill(catalog::Buffer& buffer, rtfq_dtype type) {
  const auto count = static_cast<int64_t>(buffer.bytes()) / element_bytes(type);
  for (int64_t i = 0; i < count; ++i) switch (type) {
      case RTFQ_F32:
        buffer.as<float>()[i] = static_cast<float>(i % 61 - 30) / 64;
        break;
      case RTFQ_BF16:
        buffer.as<uint16_t>()[i] = static_cast<uint16_t>(0x3c00 + i % 61 + (i % 2 << 15));
        break;
      default:
        buffer.as<uint8_t>()[i] = static_cast<uint8_t>(i % 251);
    }
}

/// GFLOP/s of the implementation that `choose` takes, "-" where only the plain one does. Median of at least
/// five launches.
template <class Op>
std::string rate(const Conv2dShape& s) {
  const auto& impl = choose<Op>(Backend::cpu, s);
  if (impl.name == std::string("naive")) return "-";
  const auto bytes = [](rtfq_dtype type, int64_t count) {
    return static_cast<std::size_t>(count * element_bytes(type));
  };
  catalog::Buffer x(bytes(s.x_type, s.n * s.h * s.w * s.c)), w(bytes(s.w_type, s.k * s.r * s.s * s.c_parent)),
      y(bytes(s.y_type, s.n * output_height(s) * output_width(s) * s.k)), scale(bytes(RTFQ_F32, s.k));
  fill(x, s.x_type), fill(w, s.w_type), fill(y, s.y_type), fill(scale, RTFQ_F32);
  catalog::Buffer workspace(impl.workspace(s));
  std::unique_ptr<const Packed<Op>> packed;
  if constexpr (!std::is_same_v<Op, Conv2dWgrad>)
    packed = std::make_unique<const Packed<Op>>(impl, s, w.data());
  typename Op::Args args{};
  if constexpr (std::is_same_v<Op, Conv2dForward>)
    args = {x.data(), packed->get(), y.data(), workspace.data(), scale.template as<float>()};
  else if constexpr (std::is_same_v<Op, Conv2dDgrad>)
    args = {y.data(), packed->get(), x.data(), workspace.data()};
  else
    args = {x.data(), y.data(), w.template as<float>(), true, workspace.data()};
  std::vector<double> seconds;
  impl.launch(s, args, {});
  double total = 0;
  while (total < 0.06 || seconds.size() < 5) {
    const auto start = std::chrono::steady_clock::now();
    impl.launch(s, args, {});
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    total += seconds.back();
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  return std::to_string(static_cast<int>(2e-9 * static_cast<double>(macs(s)) / seconds[seconds.size() / 2]));
}

}  // namespace

TEST_CASE("rates: the convolutions of ResNets", "[.][rates]") {
  std::printf("%s\n| layer | fwd f32 | bf16 | codes | dgrad f32 | bf16 | wgrad f32 | bf16 | codes |\n",
              cpu::describe_features().c_str());
  std::printf("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  for (const auto& l : layers) {
    const auto s = l.shape();
    const bool image = l.c == 3;
    const auto half = with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
    const auto codes = image ? RTFQ_S8 : RTFQ_U8;
    std::printf("| %dx%d/%d %d to %d, %d pixels |", static_cast<int>(l.filter), static_cast<int>(l.filter),
                static_cast<int>(l.stride), static_cast<int>(l.c), static_cast<int>(l.k),
                static_cast<int>(l.size));
    for (const auto& text :
         {rate<Conv2dForward>(s), rate<Conv2dForward>(half),
          rate<Conv2dForward>(with_types(s, codes, RTFQ_S8, RTFQ_BF16)),
          image ? std::string() : rate<Conv2dDgrad>(s), image ? std::string() : rate<Conv2dDgrad>(half),
          rate<Conv2dWgrad>(s), rate<Conv2dWgrad>(half),
          rate<Conv2dWgrad>(with_types(s, codes, RTFQ_F32, RTFQ_BF16))})
      std::printf(" %s |", text.c_str());
    std::printf("\n");
    std::fflush(stdout);
  }
}
