#pragma once
// Training steps on noise, whose only result is what they take.

#include <memory>
#include <string>
#include <vector>

#include "training/optimizer.h"
#include "training/step.h"

namespace rtfq {

class Rehearsal {
 public:
  Rehearsal(const Config&, int64_t classes);

  /// Seconds of one step of `phase` with `batch` images of each domain and a learning rate of 0.
  double step(const std::string& phase, const std::vector<PassPlan>& passes, int batch);
  /// Seconds of a forward pass as calibration makes it, with `batch` images. Weights that an earlier pass of
  /// the subnet prepared are used, unless they are forgotten.
  double calibration_pass(const Subnet&, int batch);
  void forget_prepared_weights() { student_->weights_changed(); }

  /// The highest memory of tensors, beyond what there was before the constructor, while `work` runs.
  template <class Work>
  std::size_t peak(const Work& work) const {
    memory::reset_peak(device_);
    work();
    return memory::statistics(device_).peak - before_;
  }

 private:
  Tensor noise(int64_t images, int resolution) const;
  void prepare_steps();

  Config config_;
  int64_t classes_;
  Device device_;
  std::size_t before_;
  std::unique_ptr<Supernet> student_, teacher_;
  std::unique_ptr<Optimizer> optimizer_;
  ClassShares shares_;
};

}  // namespace rtfq
