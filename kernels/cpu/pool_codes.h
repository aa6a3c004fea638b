#pragma once
// Pooling of integer codes.

#include "kernels/pool.h"

namespace rtfq::kernels::cpu {

const char* average_codes_unsupported(const PoolShape&);
void average_codes(const PoolShape&, const AveragePoolForwardArgs&, Stream);

const char* max_codes_unsupported(const PoolShape&);
/// Without the maxima's places.
void max_codes(const PoolShape&, const MaxPoolForwardArgs&, Stream);

}  // namespace rtfq::kernels::cpu
