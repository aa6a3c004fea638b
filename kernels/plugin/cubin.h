#pragma once
// A cubin with a JSON description of its launch: the form in which a Triton kernel comes (docs/lab.md).
// Reading, checking and describing it works everywhere; running it needs a GPU and its driver.

#include <string>

#include "kernels/plugin.h"

namespace rtfq::kernels::plugin {

/// Reads FILE.json and the cubin that it names. Throws std::runtime_error when either is not what it should
/// be: not an ELF file for CUDA, no such kernel in it, arguments that are unknown or not as many or as wide
/// as the kernel's parameters, threads or shared memory beyond what a block has.
const rtfq_plugin* open_cubin(const std::string& file);

}  // namespace rtfq::kernels::plugin
