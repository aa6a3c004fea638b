#pragma once
// A data set as evaluation, calibration and prediction read it: unaugmented batches at the bank's largest
// resolution.

#include <functional>
#include <memory>
#include <vector>

#include "data/loader.h"
#include "engine/tensor.h"
#include "models/norm.h"
#include "training/config.h"
#include "training/device_images.h"

namespace rtfq {

/// Images of one evaluation batch: enough for the kernels to be busy, few enough that a ResNet-50 at 224
/// pixels fits.
int evaluation_batch(int resolution);

/// The norms that images of the target meet: a network that was never adapted knows the source's alone.
Domain inference_domain(const Config&);

/// Batches that stay in memory when they fit the data cache, so that 48 subnets decode them once.
class PreparedImages {
 public:
  enum class Order {
    as_listed,  ///< every image once; the last batch may be shorter
    shuffled    ///< full batches of all classes, for statistics of a batch; the last one may repeat images
  };
  /// At most `limit` images (a shuffled last batch may exceed it).
  PreparedImages(const Config&, const data::Dataset&, Domain, Order, int64_t limit = INT64_MAX);

  /// Normalized images [n,R,R,C] on config.device, R the bank's largest resolution, and the batch that they
  /// come from.
  using Visit = std::function<void(const Tensor& images, const data::Batch&)>;
  void each(const Visit&);
  /// Images that could not be decoded so far (data.bad_images: skip).
  int64_t skipped() const { return loader_->skipped(); }

 private:
  void visit_batch(const data::Batch&, const Visit&);

  Config config_;
  int64_t limit_;
  bool keep_ = false;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<DeviceImages> to_device_;
  std::vector<data::Batch> kept_;
};

}  // namespace rtfq
