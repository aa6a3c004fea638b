#include "training/device_images.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"
#include "kernels/image.h"

namespace rtfq {
namespace {

/// A step takes up to two batches of images and one of labels, and the next step's may be under way.
constexpr std::size_t stages = 6;

}  // namespace

struct DeviceImages::Stage {
  explicit Stage(Device device) : arrived(device), read(device) {}

  void* pinned = nullptr;
  Tensor there;  ///< u8, on the device
  std::size_t bytes = 0;
  kernels::runtime::Event arrived;  ///< the copy is there, and `pinned` may be written
  kernels::runtime::Event read;     ///< the device has read the copy, which may be overwritten
};

DeviceImages::DeviceImages(Device device, std::span<const float> mean, std::span<const float> deviation)
    : device_(device), mean_(mean.begin(), mean.end()), deviation_(deviation.begin(), deviation.end()) {
  if (device.backend == Backend::cpu) return;
  means_ = Tensor::from(mean, {static_cast<int64_t>(mean.size())}, device);
  deviations_ = Tensor::from(deviation, {static_cast<int64_t>(deviation.size())}, device);
  copies_ = kernels::runtime::create_stream(device);
  for (std::size_t i = 0; i < stages; ++i) stages_.push_back(std::make_unique<Stage>(device));
}

DeviceImages::~DeviceImages() {
  if (device_.backend == Backend::cpu) return;
  try {
    kernels::runtime::synchronize(copies_);
    kernels::runtime::synchronize(compute_stream(device_));
  } catch (const std::exception&) {  // whoever launched what failed is told at its own next call
  }
  kernels::runtime::destroy_stream(copies_);
  for (const auto& stage : stages_)
    if (stage->pinned) kernels::runtime::release_pinned(device_, stage->pinned);
}

DeviceImages::Stage& DeviceImages::next(std::size_t bytes) {
  Stage& stage = *stages_[turn_++ % stages];
  stage.arrived.synchronize();  // of `stages` batches ago
  if (stage.bytes < bytes) {
    if (stage.pinned) kernels::runtime::release_pinned(device_, std::exchange(stage.pinned, nullptr));
    stage.pinned = kernels::runtime::allocate_pinned(device_, bytes);
    const memory::HeldBy by("images");
    stage.there = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device_);
    stage.bytes = bytes;
    // The pool hands memory out in the order of the compute stream.
    stage.read.record(compute_stream(device_));
  }
  return stage;
}

void DeviceImages::send(Stage& stage, std::size_t bytes) {
  stage.read.hold(copies_);
  kernels::runtime::copy_async(stage.there.data(), device_, stage.pinned, {}, bytes, copies_);
  stage.arrived.record(copies_);
  stage.arrived.hold(compute_stream(device_));
}

Tensor DeviceImages::images(std::initializer_list<std::span<const uint8_t>> parts, Dims dims) {
  std::size_t bytes = 0;
  for (const auto part : parts) bytes += part.size();
  if (static_cast<int64_t>(bytes) != dims.product() || static_cast<std::size_t>(dims[3]) != mean_.size())
    throw std::invalid_argument("[images] expected " + std::to_string(dims.product()) + " pixels for " +
                                to_string(dims) + " of " + std::to_string(mean_.size()) + " channels, got " +
                                std::to_string(bytes));
  if (device_.backend == Backend::cpu) {
    if (parts.size() == 1) return ops::normalize({}, *parts.begin(), dims, mean_, deviation_);
    std::vector<uint8_t> all;
    all.reserve(bytes);
    for (const auto part : parts) all.insert(all.end(), part.begin(), part.end());
    return ops::normalize({}, all, dims, mean_, deviation_);
  }
  Stage& stage = next(bytes);
  auto* to = static_cast<uint8_t*>(stage.pinned);
  for (const auto part : parts) to = std::copy(part.begin(), part.end(), to);
  send(stage, bytes);
  const Stream stream = compute_stream(device_);
  const memory::HeldBy by("images");
  Tensor images = Tensor::empty(dims, DType::f32, device_);
  ops::launch<kernels::Normalize>(
      stream, kernels::make_resize_shape(dims[0], dims[1], dims[2], dims[3], dims[1], dims[2]),
      {stage.there.as<uint8_t>(), means_.as<float>(), deviations_.as<float>(), images.as<float>()});
  stage.read.record(stream);
  return images;
}

Tensor DeviceImages::labels(std::span<const int32_t> labels) {
  const Dims dims{static_cast<int64_t>(labels.size())};
  if (device_.backend == Backend::cpu) return Tensor::from(labels, dims);
  Stage& stage = next(labels.size_bytes());
  std::memcpy(stage.pinned, labels.data(), labels.size_bytes());
  send(stage, labels.size_bytes());
  const Stream stream = compute_stream(device_);
  const Tensor there = Tensor::empty(dims, DType::s32, device_);
  kernels::runtime::copy_async(there.data(), device_, stage.there.data(), device_, labels.size_bytes(),
                               stream);
  stage.read.record(stream);
  return there;
}

}  // namespace rtfq
