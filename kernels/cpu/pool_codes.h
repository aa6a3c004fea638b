#pragma once
// Average pooling of integer codes.

#include "kernels/pool.h"

namespace rtfq::kernels::cpu {

const char* average_codes_unsupported(const PoolShape&);
void average_codes(const PoolShape&, const AveragePoolForwardArgs&, Stream);

}  // namespace rtfq::kernels::cpu
