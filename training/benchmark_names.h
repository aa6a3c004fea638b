#pragma once
// What the files of this room that speak of benchmarks share.

#include <span>
#include <string>

#include "training/benchmark.h"
#include "training/presets.h"

namespace rtfq::benchmark {

/// training/benchmarks/*.jsonc, built in; and the methods that experiments and benchmarks share.
std::span<const Preset> benchmark_files();
const char* shared_methods();

/// Letters and digits in lower case: "Real World", "real_world" and "RealWorld" are one.
std::string plain_name(const std::string&);
bool is_called(const Domain&, const std::string& folder);

}  // namespace rtfq::benchmark
