#pragma once
// Which subnets a step trains (docs/method.md, "Training", item 1).

#include <cstdint>
#include <string>
#include <vector>

#include "models/bank.h"

namespace rtfq {

enum class Role { largest, random, smallest };
const char* to_string(Role);

/// One pass of a step. `learns_from` is the index of an earlier pass of the same architecture at the next
/// higher bit-width, or -1.
struct PassPlan {
  Subnet subnet;
  Role role = Role::random;
  int learns_from = -1;
};

/// The passes of step `step`, a function of seed and step alone.
/// - "sandwichq": the largest architecture at the highest precision, then random architectures, each at two
/// adjacent
///   bit-widths (higher first), then the smallest at the lowest; an odd pass left over is a single random
///   subnet.
/// - "sandwich": the plain sandwich rule: largest, random ones, smallest, all at one bit-width drawn for the
/// step.
/// - "uniform": every subnet drawn independently from the bank.
/// Throws std::invalid_argument for another name or passes < 2 (1 for "uniform").
std::vector<PassPlan> sample_passes(const Bank&, const std::string& sampler, int passes, uint64_t seed,
                                    uint64_t step);
/// One pass of one network, which plays the largest's part: it learns from its own confident predictions.
std::vector<PassPlan> single_pass(const Subnet&);

/// Architectures between the extremes that these passes use, each once, at the bank's highest precision: the
/// teachers of the smallest subnet.
std::vector<Subnet> intermediate_teachers(const Bank&, const std::vector<PassPlan>&);
/// All architectures of the bank but the two extremes, at the highest precision (14 in AnyDA's bank).
std::vector<Subnet> intermediate_teachers(const Bank&);

}  // namespace rtfq
