#pragma once
// The losses of docs/method.md over logits that source and target share, each adding its gradient for the
// rows it covers.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace rtfq {

/// Gathers the losses of one pass: logits [n,k] of which the first `source_rows` are source images.
class PassLoss {
 public:
  PassLoss(const Tensor& logits, int64_t source_rows, Stream stream = {});

  /// Cross entropy with label smoothing on the source rows.
  void source(std::span<const int32_t> labels, double smoothing, double weight);
  /// Cross entropy of the target rows against the arg max of `probabilities` [target rows, k] where its
  /// probability exceeds `threshold`; undefined: their own.
  void pseudo_labels(const Tensor& probabilities, double threshold, double weight);
  /// Mean entropy minus entropy of the mean prediction (over all ranks), target rows; with a `prior` the
  /// divergence from it takes the second part's place. `average` [k], where not empty, is the mean prediction
  /// of earlier steps and counts with weight `decay`. Returns the mean prediction that was used.
  std::vector<float> information_maximization(double weight, std::span<const float> average = {},
                                              double decay = 0, std::span<const float> prior = {});
  /// Minimum class confusion of the target rows of this rank (Jin et al. 2020).
  void class_confusion(double temperature, double weight);
  /// Soft cross entropy of the target rows, against softmax probabilities [target rows, k].
  void distillation(const Tensor& probabilities, double temperature, double weight);
  /// Soft cross entropy of all rows, against the higher bit-width's probabilities [n,k].
  void joint(const Tensor& probabilities, double temperature, double weight);

  /// dL/d(logits) of the weighted sum.
  const Tensor& gradient() const { return gradient_; }
  /// Unweighted terms by name, and the weighted sum.
  const std::map<std::string, double>& terms() const { return terms_; }
  double total() const { return total_; }

 private:
  struct Rows {
    int64_t begin, count;
  };
  void add(const std::string& term, double loss, double weight);
  Rows target() const { return {source_rows_, logits_.dim(0) - source_rows_}; }
  void require_probabilities(const std::string& term, Rows, const Tensor& probabilities) const;
  void soft(const std::string& term, Rows, const Tensor& probabilities, double temperature, double weight);

  Tensor logits_, gradient_;
  int64_t source_rows_;
  Stream stream_;
  std::map<std::string, double> terms_;
  double total_ = 0;
};

/// softmax(logits / temperature), [n,k].
Tensor softmax(const Tensor& logits, double temperature, Stream stream = {});
/// Rows whose arg max is their label, in percent.
double percent_right(const Tensor& logits, std::span<const int32_t> labels);

}  // namespace rtfq
