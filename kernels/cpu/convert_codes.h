#pragma once
// 8-bit codes as floats, exactly: bf16 holds every integer of up to 8 bits.

#include <cstdint>

#include "kernels/bf16.h"

namespace rtfq::kernels::cpu {

/// to[i] = from[i] for `count` elements of types X (uint8_t, int8_t) and T (bf16, float), shared out to
/// OpenMP's threads.
template <class X, class T>
void convert_codes(const X* from, T* to, int64_t count);

}  // namespace rtfq::kernels::cpu
