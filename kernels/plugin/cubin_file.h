#pragma once
// What a cubin says of its kernels. A cubin is an ELF file for CUDA: each kernel has its code in a section
// ".text.NAME" and what a launch must know of it in ".nv.info.NAME".

#include <cstddef>
#include <string>
#include <vector>

namespace rtfq::kernels::plugin {

struct CubinKernel {
  std::string name;
  std::vector<std::size_t> parameters;  ///< bytes of each, in order
};

/// The kernels in a cubin's bytes. Throws std::runtime_error, without a prefix, when they are none or cut
/// off.
std::vector<CubinKernel> kernels_of(const std::string& bytes);

}  // namespace rtfq::kernels::plugin
