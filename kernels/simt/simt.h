#pragma once
// For kernel sources (.cu): the same file is compiled by nvcc for a GPU and by g++ for the executor. Rules
// for authors are in docs/simt.md. In short: shared memory through the macros, launches through
// rtfq::simt::launch, inline PTX only behind wrappers, `_sync` intrinsics with true masks.
//
//   SIMT_SHARED(float, part, [32]);      __shared__ float part[32], with guard zones and poison on the
//   executor SIMT_DYNAMIC_SHARED(float, tile);    extern __shared__ float tile[] simt::launch(kernel, grid,
//   block, shared_bytes, stream, arguments...)

#if defined(__CUDACC__)
#include "kernels/simt/device_nvcc.h"
#else
#include "kernels/simt/device_host.h"
#endif
