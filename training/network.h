#pragma once
// From a configuration to a network and its data: what trainer, evaluation and tools share.

#include "data/loader.h"
#include "models/supernet.h"
#include "training/config.h"

namespace rtfq {

SupernetOptions supernet_options(const Config&, int64_t classes);
/// What config.precision comes to on its device, for the user: "int8: codes in convolutions, bf16 between
/// them". Where a processor has no bf16 units, f32 takes its place, and the text says so.
std::string precision_in_use(const Config&);
/// What config.device names, if it can be used here. Throws std::runtime_error saying what is missing.
Device device_of(const Config&);
/// What the network's device is and computes in, for the user: "cuda: NVIDIA H100 80GB HBM3, int8: ...".
std::string device_in_use(const Config&);
/// Trains one network (train.subnet), not a bank: methods source_only and mcc, sampler fixed.
bool trains_single(const Config&);
/// The bank's subnets, or the single network: train.subnet, at full precision with methods source_only and
/// mcc.
std::vector<Subnet> trained_subnets(const Config&);
/// The teacher's largest subnet at its highest precision.
Subnet teaching_subnet(const Config&);
/// What the phase at full precision trains: the largest architecture, or the single network's.
Subnet float_subnet(const Config&);

struct TrainingData {
  data::Dataset source;  ///< labelled
  data::Dataset target;  ///< labels removed
};
/// Throws std::invalid_argument when a location is missing, the source has no labels or fewer than 2 classes.
TrainingData open_training_data(const Config&);
/// The labelled source images to validate on: those that data.source_hold_out kept out of training, all where
/// it is 0.
data::Dataset open_source_validation(const DataConfig&, const std::vector<std::string>& classes);
/// The target with its labels, where there are any, for evaluation only.
data::Dataset open_target(const DataConfig&, const std::vector<std::string>& classes);

/// `training`: augmented random batches of train.batch images; else evaluation batches in order.
data::Decoding decoding_of(const DataConfig&);
data::LoaderOptions loader_options(const Config&, Domain, bool training);

/// Batches of images at every resolution that a step needs, each resized from the same crop.
class ImagePyramid {
 public:
  explicit ImagePyramid(Tensor largest, Stream stream = {}) : stream_(stream) {
    levels_.push_back(std::move(largest));
  }
  const Tensor& at(int64_t resolution);

 private:
  Stream stream_;
  std::vector<Tensor> levels_;
};

}  // namespace rtfq
