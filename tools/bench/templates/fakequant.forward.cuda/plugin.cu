// A fake-quant kernel of your own in CUDA C++. `make` builds it for the executor, which runs it on the CPU under random
// thread orders and finds races without a GPU (docs/simt.md); it is right as it is.
//
// What to compute: v = x/step, code = v rounded to the nearest integer and clamped to [-qn, qp], y = code*step. A NaN
// takes the lowest code. plugin.h says where the operands are; `unsupported` may refuse what you do not want to do.
#include "kernels/simt/simt.h"
#include "plugin.h"

namespace {

constexpr int threads = 256;

/// One element a thread; a grid-stride loop would do as well.
__global__ void __launch_bounds__(threads) quantize(rtfq_fakequant_shape s, const float* x, const float* step, float* y,
                                                    uint8_t* codes) {
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x, count = s.rows * s.groups * s.cols;
  if (i >= count) return;
  const int64_t col = i % s.cols, group = i / s.cols % s.groups, row = i / s.cols / s.groups;
  const float its_step = step[s.per_row ? row : 0];
  // The declared rounding: multiply by the reciprocal, ties to even. fmaxf answers the bound for a NaN.
  const float v = x[row * s.row_stride + group * s.group_stride + col] * __frcp_rn(its_step);
  const int code = __float2int_rn(fminf(fmaxf(v, static_cast<float>(-s.qn)), static_cast<float>(s.qp)));
  if (y) y[i] = static_cast<float>(code) * its_step;
  if (codes) codes[i] = static_cast<uint8_t>(code);  // the byte of an int8_t where codes are signed
}

const char* unsupported(const rtfq_operator*, const void* shape) {
  return static_cast<const rtfq_fakequant_shape*>(shape)->type == RTFQ_F32 ? nullptr : "takes f32 only";
}

int launch(const rtfq_operator*, void*, const void* shape, const void* args, void* stream) {
  const auto& s = *static_cast<const rtfq_fakequant_shape*>(shape);
  const auto& a = *static_cast<const rtfq_fakequant_forward_args*>(args);
  const int64_t blocks = (s.rows * s.groups * s.cols + threads - 1) / threads;
  rtfq::simt::launch(quantize, static_cast<unsigned>(blocks), threads, 0, static_cast<rtfq::simt::stream_t>(stream), s,
                     static_cast<const float*>(a.x), a.step, static_cast<float*>(a.y), static_cast<uint8_t*>(a.codes));
  return 0;
}

const rtfq_operator op = [] {
  rtfq_operator o{};
  o.family = "@FAMILY@";
  o.name = "mine";
#ifdef __CUDACC__
  o.device = RTFQ_CUDA_DEVICE;
#else
  o.device = RTFQ_SIMT;
#endif
  o.scaling = RTFQ_RECIPROCAL;
  o.ties = RTFQ_TIES_EVEN;
  o.unsupported = unsupported;
  o.launch = launch;
  return o;
}();
const rtfq_operator* const operators[] = {&op};
const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "mine", "1", 1, operators};

}  // namespace

extern "C" const rtfq_plugin* rtfq_plugin_entry(uint32_t) {
  return &table;
}
