#pragma once
// Choosing among evaluated subnets: what they cost, how good they are held to be, and how that is known.

#include <optional>
#include <string>
#include <vector>

#include "training/evaluation.h"

namespace rtfq {

/// One of the costs that a device can limit.
struct CostKind {
  std::string name;  ///< "macs", "bitops", "bytes", "memory", "latency-ms"
  std::string unit;  ///< for people: "MACs", "bytes", "ms"
  /// Absent where it was not measured.
  std::optional<double> (*of)(const SubnetScore&);
  std::string measured_by;  ///< the command that fills it in: "eval RUN --all"
};
const std::vector<CostKind>& cost_kinds();
/// Throws std::invalid_argument naming the kinds.
const CostKind& cost_kind(const std::string& name);

/// How a subnet's quality is known.
struct Criterion {
  std::string name;   ///< "infomax", "source-val", "target-labels"
  std::string words;  ///< "accuracy on the target's labels, percent"
  std::optional<double> (*of)(const SubnetScore&);
  std::string measured_by;
};
const std::vector<Criterion>& criteria();
/// Throws std::invalid_argument naming the criteria.
const Criterion& criterion(const std::string& name);

struct Limit {
  const CostKind* cost;
  double value;
};

/// The best subnet within all limits; of equally good ones that with the fewest BitOPs; nullptr when none
/// fits. Subnets must have the criterion and the costs: see require.
const SubnetScore* choose(const std::vector<SubnetScore>&, const Criterion&, const std::vector<Limit>&);

/// Subnets within the limits that no other one within them beats, where to beat is to be at least as good by
/// the criterion, at most as expensive in every one of `costs`, and better in one of these. In order of the
/// first cost.
std::vector<SubnetScore> pareto_front(const std::vector<SubnetScore>&, const Criterion&,
                                      const std::vector<const CostKind*>& costs, const std::vector<Limit>&);

/// Throws std::runtime_error saying which figure the rows of `path` lack and which command ("rtfq eval RUN
/// --all") measures it.
void require(const std::vector<SubnetScore>&, const std::string& path, const Criterion&,
             const std::vector<const CostKind*>& costs);

}  // namespace rtfq
