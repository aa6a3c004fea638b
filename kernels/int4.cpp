#include "kernels/int4.h"

namespace rtfq::kernels {

const char* unsupported_codes(const Int4Quantize&, const FakeQuantShape& s) {
  return s.qn == 0 ? (s.qp <= 15 ? nullptr : "takes unsigned codes up to 15")
                   : (s.qn <= 8 && s.qp <= 7 ? nullptr : "takes signed codes from -8 to 7");
}

const char* unsupported_codes(const Conv2dInt4&, const Conv2dShape& s) {
  if (s.w_type != RTFQ_S8) return "takes codes, with weights that are s8 when they are multiplied";
  return unsupported_types(Conv2dForward{}, s);
}

// x read, half a byte written; multiply, two clamps, round.
Cost cost(const Int4Quantize&, const FakeQuantShape& s) {
  const auto lines = static_cast<double>(s.rows * s.groups);
  const double elements = lines * static_cast<double>(s.cols);
  return {
      static_cast<double>(element_bytes(s.type)) * elements + lines * static_cast<double>(int4_bytes(s.cols)),
      4 * elements};
}
Cost cost(const Conv2dInt4&, const Conv2dShape& s) {
  Cost total = cost(Conv2dForward{}, s);
  total.bytes -= static_cast<double>(s.k * s.r * s.s * (s.c - int4_bytes(s.c)));
  return total;
}

}  // namespace rtfq::kernels
