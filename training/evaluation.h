#pragma once
// How good and how expensive each subnet is, and what is written down about it.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "models/supernet.h"
#include "training/config.h"

namespace rtfq {

/// One row of subnets.json. Accuracies in percent.
struct SubnetScore {
  Subnet subnet;
  SubnetCost cost;
  std::optional<double> accuracy;         ///< on the target, with the target's norms
  std::optional<double> source_accuracy;  ///< on the source, with the source's norms
};

/// Called with the number of subnets done and to do.
using Progress = std::function<void(int64_t done, int64_t total)>;

/// Accuracy in percent of one subnet over all images of a labelled data set, with the statistics stored for
/// `domain`. Throws std::invalid_argument when the data set has no labels.
double accuracy(Supernet&, const Subnet&, Domain domain, const Config&, const data::Dataset&);

/// Scores of `subnets` on target and source (each skipped where its location is empty or it has no labels),
/// in the order given.
std::vector<SubnetScore> evaluate(Supernet&, const Config&, std::span<const Subnet> subnets,
                                  const data::Dataset* target, const data::Dataset* source,
                                  const Progress& progress = {});

/// Norm statistics of `subnets` anew, as the cumulative average over at most `limit` images, for one domain.
void calibrate(Supernet&, const Config&, std::span<const Subnet> subnets, Domain domain, const data::Dataset&,
               int64_t limit, const Progress& progress = {});

/// The file `rtfq eval --all` writes and `rtfq select` reads: a JSON list of
/// {"id","width","depth","resolution","bits", "params","bytes","macs","bitops","accuracy","source_accuracy"},
/// sorted by bitops. Written atomically.
void write_scores(const std::string& path, std::vector<SubnetScore> scores);
/// Throws std::runtime_error naming the file and what to run when it is missing or malformed.
std::vector<SubnetScore> read_scores(const std::string& path);

}  // namespace rtfq
