// Conversion between types: f32 and bf16 to each other, codes to either.
//
// A block of 256 threads takes 1,024 neighbouring elements, a thread four of them with one access to each
// side where both pointers are aligned to four elements, else one at a time. Floor: each element read and
// written once. Bound by memory. Limits: fewer than 2^31 blocks. A NaN may lose its payload. Not yet timed on
// a GPU.
#include "kernels/cuda/values.h"
#include "kernels/elementwise.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, each = 4;

template <class X, class Y, int V>
__global__ void __launch_bounds__(threads)
    convert(const X* __restrict__ x, Y* __restrict__ y, int64_t count) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) * threads * each;
  for (int i = V * static_cast<int>(threadIdx.x); i < threads * each; i += V * threads) {
    const int64_t at = block + i;
    if (at + V <= count) {
      store<V>(y + at, load<V>(x + at));
    } else {
      for (int64_t j = at; j < count; ++j) store<1>(y + j, load<1>(x + j));
    }
  }
}

template <class X, class Y>
void convert_typed(const ConvertShape& s, const ConvertArgs& a, Stream stream) {
  const bool four = aligned(a.x, each * sizeof(X)) && aligned(a.y, each * sizeof(Y));
  const auto blocks = static_cast<unsigned>((s.count + threads * each - 1) / (threads * each));
  simt::launch(four ? convert<X, Y, each> : convert<X, Y, 1>, dim3(blocks), dim3(threads), 0,
               stream_of(stream), static_cast<const X*>(a.x), static_cast<Y*>(a.y), s.count);
}

template <class Y>
void convert_to(const ConvertShape& s, const ConvertArgs& a, Stream stream) {
  switch (s.from) {
    case RTFQ_F32:
      return convert_typed<float, Y>(s, a, stream);
    case RTFQ_BF16:
      return convert_typed<bf16, Y>(s, a, stream);
    case RTFQ_U8:
      return convert_typed<uint8_t, Y>(s, a, stream);
    case RTFQ_S8:
      return convert_typed<int8_t, Y>(s, a, stream);
    default:
      throw std::logic_error("[convert] a type that convert_unsupported lets through");
  }
}

void launch_convert(const ConvertShape& s, const ConvertArgs& a, Stream stream) {
  if (s.count == 0) return;
  s.to == RTFQ_BF16 ? convert_to<bf16>(s, a, stream) : convert_to<float>(s, a, stream);
}

const char* convert_unsupported(const ConvertShape& s) {
  const bool from = s.from == RTFQ_F32 || s.from == RTFQ_BF16 || s.from == RTFQ_U8 || s.from == RTFQ_S8;
  if (!from || (s.to != RTFQ_F32 && s.to != RTFQ_BF16)) return "takes f32, bf16, u8 or s8 to f32 or bf16";
  return s.count / (threads * each) < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Convert::Impl> Convert::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"vector", RTFQ_GPU::convert_unsupported, RTFQ_GPU::launch_convert}};
  return list;
}

}  // namespace rtfq::kernels
