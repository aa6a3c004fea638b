#pragma once
// What a launch description may pass to its kernel: members of the family's shape and arguments, by name.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/plugin.h"

namespace rtfq::kernels::plugin {

/// One parameter's value. A kernel that takes four bytes is given the lower ones.
union CubinValue {
  const void* pointer;
  int64_t number;
};

/// A member, and how it is read. "count" is the number of elements, "null" a pointer to nothing (what Triton
/// adds for scratch memory that a kernel does not use).
struct CubinArgument {
  const char* name;
  bool pointer;
  CubinValue (*read)(const void* shape, const void* arguments);
};

/// A family that cubins may implement.
struct CubinFamily {
  const char* name;
  std::span<const CubinArgument> arguments;
  int64_t (*elements)(const void* shape);
  rtfq_dtype (*type)(const void* shape);
  /// Names of the arguments without which a shape cannot be described, or an empty list.
  std::vector<std::string> (*needed)(const void* shape);

  const CubinArgument* find(const std::string& argument) const;
};

/// nullptr: there is none of this name.
const CubinFamily* cubin_family(const std::string& name);
/// "fakequant.forward, relu.forward, ..."
std::string cubin_families();

}  // namespace rtfq::kernels::plugin
