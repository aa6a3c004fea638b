#pragma once
// The losses of docs/method.md over logits that source and target share, each adding its gradient for the
// rows it covers.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace rtfq {

/// Gathers the losses of one pass: logits [n,k] of which the first `source_rows` are source images. Losses
/// are device memory like the logits; the host waits for them only in terms() and total().
class PassLoss {
 public:
  /// Losses that a pass can have.
  static constexpr int64_t most_terms = 8;
  /// `losses`: where they go, [most_terms] f32 on the logits' device; undefined: memory of its own.
  PassLoss(const Tensor& logits, int64_t source_rows, Tensor losses = {});

  /// Cross entropy with label smoothing on the source rows. Labels of the host are checked first.
  void source(std::span<const int32_t> labels, double smoothing, double weight);
  /// The same with labels, s32 [source rows], that are on the device, and were checked.
  void source(const Tensor& labels, double smoothing, double weight);
  /// Cross entropy of the target rows against the arg max of `probabilities` [target rows, k] where its
  /// probability exceeds `threshold`; undefined: their own.
  void pseudo_labels(const Tensor& probabilities, double threshold, double weight);
  /// Mean entropy minus entropy of the mean prediction (over all ranks), target rows; with a `prior` the
  /// divergence from it takes the second part's place. `average` [k], where defined, is the mean prediction
  /// of earlier steps and counts with weight `decay`. Returns the mean prediction that was used.
  Tensor information_maximization(double weight, const Tensor& average = {}, double decay = 0,
                                  const Tensor& prior = {});
  /// Minimum class confusion of the target rows of this rank (Jin et al. 2020).
  void class_confusion(double temperature, double weight);
  /// Soft cross entropy of the target rows, against softmax probabilities [target rows, k].
  void distillation(const Tensor& probabilities, double temperature, double weight);
  /// Soft cross entropy of all rows, against the higher bit-width's probabilities [n,k].
  void joint(const Tensor& probabilities, double temperature, double weight);

  /// dL/d(logits) of the weighted sum.
  const Tensor& gradient() const { return gradient_; }
  /// Unweighted terms by name, and the weighted sum.
  std::map<std::string, double> terms() const;
  double total() const;
  /// Gives it what a copy of `losses` to the host holds, so that it need not make one.
  void read(std::span<const float> losses) { values_.assign(losses.begin(), losses.end()); }
  /// Lets go of all device memory: from now on only read(), terms() and total() work.
  void let_go() { logits_ = gradient_ = losses_ = {}; }

 private:
  struct Rows {
    int64_t begin, count;
  };
  struct Term {
    std::string name;
    double weight;
  };
  /// Where the next loss goes.
  float* add(const std::string& term, double weight);
  const std::vector<float>& values() const;
  Rows target() const { return {source_rows_, logits_.dim(0) - source_rows_}; }
  void require_probabilities(const std::string& term, Rows, const Tensor& probabilities) const;
  void soft(const std::string& term, Rows, const Tensor& probabilities, double temperature, double weight);

  Tensor logits_, gradient_, losses_;
  int64_t source_rows_;
  Stream stream_;
  std::vector<Term> terms_;
  mutable std::vector<float> values_;  ///< of the host, once they were asked for
};

/// softmax(logits / temperature), [n,k].
Tensor softmax(const Tensor& logits, double temperature);
/// Throws std::invalid_argument unless there are `rows` labels of `classes` classes.
void require_labels(std::span<const int32_t> labels, int64_t rows, int64_t classes);
/// Rows whose arg max is their label, in percent.
double percent_right(const Tensor& logits, std::span<const int32_t> labels);

}  // namespace rtfq
