#pragma once
#include <span>

namespace rtfq {

/// A configuration that ships; training/CMakeLists.txt turns configs/*.jsonc into the table.
struct Preset {
  const char* name;
  const char* text;
};
std::span<const Preset> presets();

}  // namespace rtfq
