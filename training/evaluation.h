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

/// How long a subnet takes on the machine that measured it (training/latency.h).
struct Latency {
  double milliseconds = 0;  ///< median over forward passes of `batch` images
  double spread = 0;        ///< between the quartiles, milliseconds
  int batch = 1;
  int threads = 1;
  std::string machine;
  bool operator==(const Latency&) const = default;
};

/// One row of subnets.json. Accuracies in percent, entropies in nats; what is not known is absent.
struct SubnetScore {
  Subnet subnet;
  SubnetCost cost;
  std::optional<double> accuracy = {};         ///< on the target, with the target's norms
  std::optional<double> class_accuracy = {};   ///< the same, of each class, averaged over the classes
  std::optional<double> source_accuracy = {};  ///< on the source, with the source's norms
  bool source_held_out = false;                ///< on source images that training did not see
  // Without labels of the target, over its images (training/predictions.h).
  std::optional<double> entropy = {}, mean_prediction_entropy = {};
  std::optional<double> teacher_agreement = {};  ///< percent of images
  std::optional<Latency> latency = {};

  /// Mutual information of target image and prediction: mean_prediction_entropy - entropy.
  std::optional<double> information() const {
    if (!entropy || !mean_prediction_entropy) return {};
    return *mean_prediction_entropy - *entropy;
  }
};

/// Called with the number of subnets done and to do.
using Progress = std::function<void(int64_t done, int64_t total)>;

/// Accuracy in percent of one subnet over all images of a labelled data set, with the statistics stored for
/// `domain`. Throws std::invalid_argument when the data set has no labels.
double accuracy(Supernet&, const Subnet&, Domain domain, const Config&, const data::Dataset&);

/// Scores of `subnets` on target and source, in the order given: accuracy where a data set has labels, and on
/// the target also what needs none. `source` holds the images that source_accuracy is to be measured on (see
/// open_source_validation). `teacher`: the averaged one, for teacher_agreement; may be absent.
std::vector<SubnetScore> evaluate(Supernet&, const Config&, std::span<const Subnet> subnets,
                                  const data::Dataset* target, const data::Dataset* source,
                                  const Progress& progress = {}, Supernet* teacher = nullptr);

/// Norm statistics of `subnets` anew, as the cumulative average over at most `limit` images, for one domain.
void calibrate(Supernet&, const Config&, std::span<const Subnet> subnets, Domain domain, const data::Dataset&,
               int64_t limit, const Progress& progress = {});

/// The file that `rtfq eval --all` writes, `rtfq measure` adds to and `rtfq select` reads: a JSON list of
/// {"id","width","depth","resolution","bits","params","bytes","macs","bitops","memory","accuracy","class_accuracy",
/// "source_accuracy","source_held_out","entropy","mean_prediction_entropy","teacher_agreement","latency_ms","latency"},
/// sorted by bitops; null where unknown. Written atomically.
void write_scores(const std::string& path, std::vector<SubnetScore> scores);
/// Throws std::runtime_error naming the file and what to run when it is missing or malformed.
/// Fields that older versions did not write are absent (a `memory` of 0: not known).
std::vector<SubnetScore> read_scores(const std::string& path);
/// The rows as write_scores prints them.
std::string scores_json(std::vector<SubnetScore> scores);

}  // namespace rtfq
