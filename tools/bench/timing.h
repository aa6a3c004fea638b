#pragma once
// How long a launch takes: Google Benchmark decides how many launches make a sample and takes the times.

#include "kernels/catalog/catalog.h"
#include "tools/bench/item.h"

namespace rtfq::lab {

/// Times the prepared launch of `instance` and fills in the row's samples. `clock` answers the seconds of the
/// last launch by the kernel's own clock (NaN: it has none, as most).
void time_launches(kernels::catalog::Instance& instance, const Settings&, Row& row);

/// Reads and writes enough memory that no cache holds anything else afterwards.
void evict_caches();
/// Bytes of last-level cache that this process reaches.
double largest_cache();

}  // namespace rtfq::lab
