#pragma once
// Hardware counters through perf events, where the system lets this process have them.

#include "kernels/catalog/catalog.h"
#include "tools/bench/item.h"

namespace rtfq::lab {

/// Adds cycles, instructions and misses of the last-level cache for one launch, all threads, to the row's
/// counters; nothing where there are none (virtual machines, perf_event_paranoid above 2).
void count_events(kernels::catalog::Instance&, Row&);

}  // namespace rtfq::lab
