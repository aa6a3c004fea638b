#pragma once
// Suites: what `rtfq-bench run --suite` measures.

#include <string>
#include <vector>

#include "kernels/cpu/caches.h"
#include "tools/bench/item.h"

namespace rtfq::lab {

/// What a suite measures: rtfq, quick, memory, paper or gpu. Items without implementation. `cache`: bytes of
/// the last-level cache, which the operands of "memory" do not fit.
std::vector<Item> suite_items(const std::string& name, const std::vector<std::string>& operators,
                              int64_t cache = kernels::cpu::last_level_cache());
std::vector<std::string> suites();

/// Of "memory", what is verified of each shape, however long: 25 million elements.
inline constexpr int64_t memory_images = 64, memory_elements = memory_images * 784 * 512;

}  // namespace rtfq::lab
