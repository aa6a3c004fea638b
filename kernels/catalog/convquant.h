#pragma once
// The cases of the fused convolution.

#include "kernels/catalog/catalog.h"

namespace rtfq::kernels::catalog {

std::vector<Entry> convquant_entries();

}  // namespace rtfq::kernels::catalog
