#include "kernels/elementwise.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {

namespace {

bool is_float(rtfq_dtype type) {
  return type == RTFQ_F32 || type == RTFQ_BF16;
}

void require_count(const char* op, int64_t count) {
  if (count < 0)
    throw std::invalid_argument(std::string("[") + op + "] expected a number of elements, got " +
                                std::to_string(count) + ": the shape overflowed");
}

/// One operation an element, `tensors` of them read or written.
Cost cost_of(const ElementwiseShape& s, int tensors) {
  const auto count = static_cast<double>(s.count);
  return {static_cast<double>(tensors * element_bytes(s.type)) * count, count};
}

}  // namespace

ElementwiseShape make_elementwise_shape(int64_t count, rtfq_dtype type) {
  require_count("elementwise", count);
  if (!is_float(type))
    throw std::invalid_argument(std::string("[elementwise] expected f32 or bf16 elements, got ") +
                                type_name(type) + ": convert them first");
  return {count, type};
}

ConvertShape make_convert_shape(int64_t count, rtfq_dtype from, rtfq_dtype to) {
  require_count("convert", count);
  if (!is_float(to) || (!is_float(from) && from != RTFQ_U8 && from != RTFQ_S8))
    throw std::invalid_argument(
        std::string("[convert] expected f32, bf16, u8 or s8 to become f32 or bf16, got ") + type_name(from) +
        " to " + type_name(to) + ": codes come from fakequant.forward");
  return {count, from, to};
}

Cost cost(const ReluForward&, const ElementwiseShape& s) {
  return cost_of(s, 2);
}
Cost cost(const ReluBackward&, const ElementwiseShape& s) {
  return cost_of(s, 3);
}
Cost cost(const Add&, const ElementwiseShape& s) {
  return cost_of(s, 3);
}
Cost cost(const Convert&, const ConvertShape& s) {
  const auto count = static_cast<double>(s.count);
  return {static_cast<double>(element_bytes(s.from) + element_bytes(s.to)) * count, count};
}

}  // namespace rtfq::kernels
