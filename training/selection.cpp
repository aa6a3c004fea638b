#include "training/selection.h"

#include <algorithm>
#include <stdexcept>

namespace rtfq {
namespace {

template <int64_t SubnetCost::*member>
std::optional<double> cost_of(const SubnetScore& score) {
  return static_cast<double>(score.cost.*member);
}

template <class Named>
const Named& find(const std::vector<Named>& all, const std::string& name, const char* what) {
  std::string known;
  for (const Named& item : all) {
    if (item.name == name) return item;
    known += (known.empty() ? "" : ", ") + item.name;
  }
  throw std::invalid_argument("[select] unknown " + std::string(what) + " '" + name + "': expected " + known);
}

bool fits(const SubnetScore& score, const std::vector<Limit>& limits) {
  return std::all_of(limits.begin(), limits.end(),
                     [&](const Limit& limit) { return *limit.cost->of(score) <= limit.value; });
}

bool beats(const SubnetScore& a, const SubnetScore& b, const Criterion& criterion,
           const std::vector<const CostKind*>& costs) {
  const double good_a = *criterion.of(a), good_b = *criterion.of(b);
  bool better = good_a > good_b;
  if (good_a < good_b) return false;
  for (const CostKind* cost : costs) {
    if (*cost->of(a) > *cost->of(b)) return false;
    better = better || *cost->of(a) < *cost->of(b);
  }
  return better;
}

}  // namespace

const std::vector<CostKind>& cost_kinds() {
  static const std::vector<CostKind> all{{"macs", "MACs", cost_of<&SubnetCost::macs>, "eval RUN --all"},
                                         {"bitops", "BitOPs", cost_of<&SubnetCost::bitops>, "eval RUN --all"},
                                         {"bytes", "bytes", cost_of<&SubnetCost::bytes>, "eval RUN --all"},
                                         {"memory", "bytes",
                                          [](const SubnetScore& score) -> std::optional<double> {
                                            if (score.cost.memory == 0) return {};
                                            return static_cast<double>(score.cost.memory);
                                          },
                                          "eval RUN --all"},
                                         {"latency-ms", "ms",
                                          [](const SubnetScore& score) -> std::optional<double> {
                                            if (!score.latency) return {};
                                            return score.latency->milliseconds;
                                          },
                                          "measure RUN"}};
  return all;
}

const CostKind& cost_kind(const std::string& name) {
  return find(cost_kinds(), name, "cost");
}

const std::vector<Criterion>& criteria() {
  static const std::vector<Criterion> all{
      {"infomax", "information of predictions on target images without labels, nats",
       [](const SubnetScore& score) { return score.information(); }, "eval RUN --all"},
      {"source-val", "accuracy on the source, percent",
       [](const SubnetScore& score) { return score.source_accuracy; }, "eval RUN --all"},
      {"target-labels", "accuracy on labels of the target, percent",
       [](const SubnetScore& score) { return score.accuracy; }, "eval RUN --all --data LABELLED"}};
  return all;
}

const Criterion& criterion(const std::string& name) {
  return find(criteria(), name, "criterion");
}

const SubnetScore* choose(const std::vector<SubnetScore>& scores, const Criterion& criterion,
                          const std::vector<Limit>& limits) {
  const SubnetScore* best = nullptr;
  for (const SubnetScore& score : scores) {
    if (!fits(score, limits)) continue;
    const double good = *criterion.of(score);
    if (!best || good > *criterion.of(*best) ||
        (good == *criterion.of(*best) && score.cost.bitops < best->cost.bitops))
      best = &score;
  }
  return best;
}

std::vector<SubnetScore> pareto_front(const std::vector<SubnetScore>& scores, const Criterion& criterion,
                                      const std::vector<const CostKind*>& costs,
                                      const std::vector<Limit>& limits) {
  std::vector<SubnetScore> front;
  for (const SubnetScore& score : scores)
    if (fits(score, limits) && std::none_of(scores.begin(), scores.end(), [&](const SubnetScore& other) {
          return fits(other, limits) && beats(other, score, criterion, costs);
        }))
      front.push_back(score);
  std::stable_sort(front.begin(), front.end(), [&](const SubnetScore& a, const SubnetScore& b) {
    return *costs.front()->of(a) < *costs.front()->of(b);
  });
  return front;
}

void require(const std::vector<SubnetScore>& scores, const std::string& path, const Criterion& criterion,
             const std::vector<const CostKind*>& costs) {
  for (const SubnetScore& score : scores) {
    const auto lacks = [&](const std::string& what, const std::string& command) {
      throw std::runtime_error("[select] " + path + " lacks the " + what + " of " + id(score.subnet) +
                               ": run `rtfq " + command + "`");
    };
    if (!criterion.of(score))
      lacks(criterion.name + " figure (" + criterion.words + ")", criterion.measured_by);
    for (const CostKind* cost : costs)
      if (!cost->of(score)) lacks(cost->name, cost->measured_by);
  }
}

}  // namespace rtfq
