#pragma once
// What a subnet says about images: probabilities, how sure it is, and whether the teacher agrees.

#include <functional>
#include <optional>
#include <vector>

#include "models/supernet.h"
#include "training/prepared_images.h"

namespace rtfq {

/// Calls `visit` with every batch and softmax probabilities [n, classes] of its images, on the host, with the
/// statistics stored for `domain`.
using VisitPredictions = std::function<void(const Tensor& probabilities, const data::Batch&)>;
void predict(Supernet&, const Subnet&, Domain, PreparedImages&, const VisitPredictions&);

/// Arg max of the averaged teacher's largest subnet at its highest precision for each sample of the data set;
/// -1 for an image that could not be decoded. The teacher normalizes with the statistics of a batch, as in
/// training, so batches are drawn from the shuffled data set; an image that fills a last batch a second time
/// keeps its first answer.
std::vector<int32_t> teacher_answers(Supernet& teacher, const Config&, const data::Dataset&);

/// Figures over all images of a data set. Entropies in nats.
struct PredictionSummary {
  int64_t images = 0;
  std::optional<double> accuracy;        ///< percent; where there are labels
  std::optional<double> class_accuracy;  ///< the mean over the classes that occur of each one's
  double entropy = 0;                    ///< mean over images of -sum p log p: low where the subnet is sure
  double mean_prediction_entropy = 0;    ///< of the mean prediction: high where it uses all classes
  std::optional<double> teacher_agreement;  ///< percent of images with the teacher's answer

  /// Mutual information of image and prediction.
  double information() const { return mean_prediction_entropy - entropy; }
};
/// `teacher`: the result of teacher_answers, or empty. Throws std::runtime_error when not one image can be
/// decoded.
PredictionSummary summarize(Supernet&, const Subnet&, Domain, PreparedImages&,
                            std::span<const int32_t> teacher);

}  // namespace rtfq
