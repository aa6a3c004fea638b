#pragma once
// What kernels/cpu/bf16.h has for one element, for f16.

#include "kernels/cpu/bf16.h"
#include "kernels/f16.h"

namespace rtfq::kernels::cpu {

inline float load1(const f16* from) {
  return to_float(*from);
}
inline void store1(f16* to, float x) {
  *to = to_f16(x);
}

RTFQ_INLINE bool streams(const f16* to, int64_t elements) {
  return streams(static_cast<const void*>(to), elements / 2);
}

}  // namespace rtfq::kernels::cpu
