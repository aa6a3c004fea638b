#include "engine/tensor.h"

#include <stdexcept>

namespace rtfq {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::invalid_argument("[tensor] " + what);
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::s8;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::s32;
}

Dims dense_strides(const Dims& dims) {
  Dims strides = dims;
  int64_t step = 1;
  for (int i = dims.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= dims[i];
  }
  return strides;
}

}  // namespace

std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::s32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::s8:
      return 1;
  }
  throw std::logic_error("[tensor] unknown dtype");
}

const char* to_string(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::u8:
      return "u8";
    case DType::s8:
      return "s8";
    case DType::s32:
      return "s32";
  }
  throw std::logic_error("[tensor] unknown dtype");
}

Dims::Dims(std::span<const int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
  if (sizes.size() > max_rank) fail("expected at most 4 dimensions, got " + std::to_string(sizes.size()));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0) fail("negative size " + std::to_string(sizes[i]));
    sizes_[i] = sizes[i];
  }
}

int64_t Dims::product() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (int i = 0; i < dims.rank(); ++i) text += (i ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

Tensor Tensor::empty(Dims dims, DType dtype, Device device) {
  Tensor t;
  t.dims_ = dims;
  t.strides_ = dense_strides(dims);
  t.dtype_ = dtype;
  t.device_ = device;
  t.storage_ = memory::allocate(device, static_cast<std::size_t>(dims.product()) * size_of(dtype));
  return t;
}

Tensor Tensor::zeros(Dims dims, DType dtype, Device device) {
  Tensor t = empty(dims, dtype, device);
  t.fill_zero();
  return t;
}

namespace {

template <class T>
Tensor from_values(std::span<const T> values, Dims dims, Device device) {
  if (static_cast<int64_t>(values.size()) != dims.product())
    fail("expected " + std::to_string(dims.product()) + " values for " + to_string(dims) + ", got " +
         std::to_string(values.size()));
  Tensor t = Tensor::empty(dims, dtype_of<T>(), device);
  kernels::runtime::copy(t.data(), device, values.data(), {}, t.bytes(), compute_stream(device));
  return t;
}

}  // namespace

Tensor Tensor::from(std::span<const float> values, Dims dims, Device device) {
  return from_values(values, dims, device);
}
Tensor Tensor::from(std::span<const int32_t> values, Dims dims, Device device) {
  return from_values(values, dims, device);
}

bool Tensor::dense() const {
  const Dims expected = dense_strides(dims_);
  for (int i = 0; i < rank(); ++i)
    if (dims_[i] != 1 && strides_[i] != expected[i]) return false;
  return true;
}

template <class T>
T* Tensor::as() const {
  if (dtype_ != dtype_of<T>())
    throw std::logic_error(std::string("[tensor] expected ") + to_string(dtype_of<T>()) + ", got " +
                           to_string(dtype_));
  return static_cast<T*>(data());
}
template float* Tensor::as<float>() const;
template uint8_t* Tensor::as<uint8_t>() const;
template int8_t* Tensor::as<int8_t>() const;
template int32_t* Tensor::as<int32_t>() const;

Tensor Tensor::slice(int d, int64_t begin, int64_t count) const {
  if (d < 0 || d >= rank() || begin < 0 || count < 0 || begin + count > dims_[d])
    fail("slice " + std::to_string(begin) + "+" + std::to_string(count) + " of dimension " +
         std::to_string(d) + " does not fit " + to_string(dims_));
  Tensor t = *this;
  t.offset_ += begin * strides_[d];
  t.dims_[d] = count;
  return t;
}

Tensor Tensor::reshaped(Dims dims) const {
  if (!dense() || dims.product() != count())
    fail("cannot view " + to_string(dims_) + " as " + to_string(dims));
  Tensor t = *this;
  t.dims_ = dims;
  t.strides_ = dense_strides(dims);
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(dims_, dtype_, device_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (!defined() || device == device_) return *this;
  Tensor t = empty(dims_, dtype_, device);
  t.copy_from(*this);
  return t;
}

void Tensor::fill_zero() const {
  if (!dense()) fail("fill_zero expects a dense tensor");
  kernels::runtime::fill_zero(device_, data(), bytes(), compute_stream(device_));
}

void Tensor::copy_from(const Tensor& other) const {
  if (!dense() || !other.dense() || dims_ != other.dims_ || dtype_ != other.dtype_)
    fail("cannot copy " + to_string(other.dims_) + " into " + to_string(dims_) +
         ": dims or dtypes differ, or not dense");
  const Device working = device_.backend == Backend::cpu ? other.device_ : device_;
  kernels::runtime::copy(data(), device_, other.data(), other.device_, bytes(), compute_stream(working));
}

std::vector<float> Tensor::to_vector() const {
  if (!dense()) fail("to_vector expects a dense tensor");
  std::vector<float> values(static_cast<std::size_t>(count()));
  kernels::runtime::copy(values.data(), {}, as<float>(), device_, bytes(), compute_stream(device_));
  return values;
}

}  // namespace rtfq
