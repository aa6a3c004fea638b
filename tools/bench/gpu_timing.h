#pragma once
// Launches on GPUs: device time by events around replays, end-to-end time beside it.

#include "kernels/catalog/catalog.h"
#include "kernels/runtime/gpu_clock.h"
#include "tools/bench/item.h"

namespace rtfq::lab {

/// The clock of "cuda:N", kept; throws std::runtime_error where there is no such GPU.
kernels::runtime::GpuClock& gpu_clock(const kernels::Device&);

/// Times the prepared launch of `instance` on its GPU and fills in the row's samples.
void time_on_gpu(kernels::catalog::Instance& instance, const kernels::Device&, const Settings&, Row& row);

/// Seconds of `launches` launches between two events, in a queue that is kept full.
double gpu_seconds(kernels::catalog::Instance& instance, const kernels::Device&, int64_t launches);

}  // namespace rtfq::lab
