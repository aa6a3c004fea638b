#pragma once
// Images and labels on their way from the loader to the device that computes: staged in pinned memory, copied
// by a stream of their own while the step before is still computing, normalized there.

#include <memory>
#include <span>
#include <vector>

#include "engine/tensor.h"
#include "kernels/runtime/stream.h"

namespace rtfq {

class DeviceImages {
 public:
  /// Pixels become (x/255 - mean)/deviation, one of each a channel.
  DeviceImages(Device, std::span<const float> mean, std::span<const float> deviation);
  ~DeviceImages();
  DeviceImages(const DeviceImages&) = delete;
  DeviceImages& operator=(const DeviceImages&) = delete;

  Device device() const { return device_; }
  /// f32 images of `dims` [n,h,w,c]; the pixels of all parts one after the other. They have been read when
  /// this returns, which is before the images are there: whoever works in the device's compute_stream finds
  /// them.
  Tensor images(std::initializer_list<std::span<const uint8_t>> parts, Dims dims);
  /// s32 [n].
  Tensor labels(std::span<const int32_t> labels);

 private:
  /// Pinned memory and its copy on the device; several are used in turn.
  struct Stage;
  /// A stage whose memory is free, holding at least `bytes`.
  Stage& next(std::size_t bytes);
  void send(Stage&, std::size_t bytes);

  Device device_;
  std::vector<float> mean_, deviation_;
  Tensor means_, deviations_;  ///< on the device
  Stream copies_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::size_t turn_ = 0;
};

}  // namespace rtfq
