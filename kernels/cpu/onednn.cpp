#include "kernels/cpu/onednn.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels::onednn {
using memory = dnnl::memory;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

dnnl::primitive_attr attributes(bool accumulate) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  return attr;
}

memory::data_type data_type(rtfq_dtype type) {
  switch (type) {
    case RTFQ_F32:
      return memory::data_type::f32;
    case RTFQ_BF16:
      return memory::data_type::bf16;
    case RTFQ_F16:
      return memory::data_type::f16;
    case RTFQ_U8:
      return memory::data_type::u8;
    case RTFQ_S8:
      return memory::data_type::s8;
    case RTFQ_S32:
      return memory::data_type::s32;
  }
  throw std::logic_error("[kernels] unknown element type " + std::to_string(static_cast<int>(type)));
}

memory::desc nhwc(int64_t n, int64_t h, int64_t w, int64_t c, rtfq_dtype type) {
  return memory::desc({n, c, h, w}, data_type(type), memory::format_tag::nhwc);
}

memory::desc krsc(int64_t k, int64_t r, int64_t s, int64_t c, int64_t c_parent, rtfq_dtype type) {
  return memory::desc({k, c, r, s}, data_type(type),
                      memory::dims{r * s * c_parent, 1, s * c_parent, c_parent});
}

memory::desc matrix(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride,
                    rtfq_dtype type) {
  return memory::desc({rows, columns}, data_type(type), memory::dims{row_stride, column_stride});
}

memory::desc vector(int64_t count) {
  return memory::desc({count}, memory::data_type::f32, memory::format_tag::a);
}

memory wrap(const memory::desc& desc, const void* data) {
  return memory(desc, engine(), const_cast<void*>(data));
}

void rethrow(const char* op, const dnnl::error& error) {
  throw std::runtime_error(std::string("[") + op + "] oneDNN: " + error.what() +
                           "; prefer the naive implementation");
}

}  // namespace rtfq::kernels::onednn
