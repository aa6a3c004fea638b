#pragma once
// Pooling by plain loops.

#include "kernels/pool.h"

namespace rtfq::kernels::naive {

void max_forward(const PoolShape&, const MaxPoolForwardArgs&, Stream);
void max_backward(const PoolShape&, const MaxPoolBackwardArgs&, Stream);
void average_forward(const PoolShape&, const AveragePoolForwardArgs&, Stream);
void average_backward(const PoolShape&, const AveragePoolBackwardArgs&, Stream);

}  // namespace rtfq::kernels::naive
