#pragma once
// Which implementations computed, for logs: no vendor library works unnamed.

#include <string>
#include <vector>

#include "kernels/runtime/device.h"

namespace rtfq::ops {

/// Remembers that `implementation` computed the operator `op`.
void note_used(kernels::Backend, const char* op, const char* implementation);
/// "conv2d.forward: mma" for each operator that has run on the backend and each implementation of it, sorted.
std::vector<std::string> used_implementations(kernels::Backend);

}  // namespace rtfq::ops
