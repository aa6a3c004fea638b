#include "kernels/image.h"

#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"

namespace rtfq::ops {

Tensor resize(Stream stream, const Tensor& x, int64_t p, int64_t q) {
  const auto shape = kernels::make_resize_shape(x.dim(0), x.dim(1), x.dim(2), x.dim(3), p, q);
  if (p == shape.h && q == shape.w) return x;
  Tensor y = Tensor::empty({shape.n, p, q, shape.c}, DType::f32, x.device());
  launch<kernels::Resize>(stream, shape, {x.as<float>(), y.as<float>(), nullptr});
  return y;
}

Tensor normalize(Stream stream, std::span<const uint8_t> pixels, Dims dims, std::span<const float> mean,
                 std::span<const float> deviation, Device device) {
  const auto channels = static_cast<std::size_t>(dims[3]);
  if (static_cast<int64_t>(pixels.size()) != dims.product() || mean.size() != channels ||
      deviation.size() != channels)
    throw std::invalid_argument("[normalize] expected pixels for " + to_string(dims) +
                                " and a mean and deviation for " + std::to_string(channels) +
                                " channels, got " + std::to_string(pixels.size()) + " pixels and " +
                                std::to_string(mean.size()) + " means");
  const auto shape = kernels::make_resize_shape(dims[0], dims[1], dims[2], dims[3], dims[1], dims[2]);
  Tensor y = Tensor::empty(dims, DType::f32, device);
  if (device.backend == Backend::cpu) {
    launch<kernels::Normalize>(stream, shape, {pixels.data(), mean.data(), deviation.data(), y.as<float>()});
    return y;
  }
  const Tensor there = Tensor::empty(dims, DType::u8, device);
  kernels::runtime::copy(there.data(), device, pixels.data(), {}, there.bytes(), stream);
  const Tensor means = Tensor::from(mean, {dims[3]}, device),
               deviations = Tensor::from(deviation, {dims[3]}, device);
  launch<kernels::Normalize>(stream, shape,
                             {there.as<uint8_t>(), means.as<float>(), deviations.as<float>(), y.as<float>()});
  return y;
}

}  // namespace rtfq::ops
