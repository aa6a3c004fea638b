#pragma once
// Tensor: a typed, strided view of device memory. Copying a Tensor copies the view, never the data. QTensor:
// integers times a step, the one representation of a quantized tensor.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "engine/memory.h"
#include "kernels/shapes.h"

namespace rtfq {

enum class DType {
  f32 = RTFQ_F32,
  bf16 = RTFQ_BF16,
  f16 = RTFQ_F16,
  u8 = RTFQ_U8,
  s8 = RTFQ_S8,
  s32 = RTFQ_S32
};
std::size_t size_of(DType);
const char* to_string(DType);

/// Up to four dimensions, outermost first.
class Dims {
 public:
  static constexpr int max_rank = 4;
  Dims() = default;
  Dims(std::initializer_list<int64_t> sizes) : Dims(std::span<const int64_t>(sizes.begin(), sizes.size())) {}
  explicit Dims(std::span<const int64_t> sizes);
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return sizes_[static_cast<std::size_t>(i)]; }
  int64_t& operator[](int i) { return sizes_[static_cast<std::size_t>(i)]; }
  int64_t product() const;
  bool operator==(const Dims&) const = default;

 private:
  std::array<int64_t, max_rank> sizes_{};
  int rank_ = 0;
};
std::string to_string(const Dims&);

class Tensor {
 public:
  Tensor() = default;  ///< undefined: no memory
  /// Contents undefined.
  static Tensor empty(Dims, DType = DType::f32, Device = {});
  static Tensor zeros(Dims, DType = DType::f32, Device = {});
  /// A copy of host values; their number must match. Throws std::invalid_argument otherwise.
  static Tensor from(std::span<const float>, Dims, Device = {});
  static Tensor from(std::span<const int32_t>, Dims, Device = {});

  bool defined() const { return storage_ != nullptr; }
  const Dims& dims() const { return dims_; }
  int rank() const { return dims_.rank(); }
  int64_t dim(int i) const { return dims_[i]; }
  int64_t stride(int i) const { return strides_[i]; }  ///< in elements
  int64_t count() const { return dims_.product(); }
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool dense() const;

  void* data() const {
    return static_cast<std::byte*>(storage_.get()) + offset_ * static_cast<int64_t>(size_of(dtype_));
  }
  /// Typed memory; throws std::logic_error when T is not the dtype.
  template <class T>
  T* as() const;

  /// The leading `count` entries of dimension `d`, or `count` from `begin`; shares storage.
  Tensor leading(int d, int64_t count) const { return slice(d, 0, count); }
  Tensor slice(int d, int64_t begin, int64_t count) const;
  /// Another shape of the same number of elements; dense tensors only.
  Tensor reshaped(Dims) const;
  /// A dense copy of dense memory on the same device. This and all below are ordered in the device's
  /// compute_stream.
  Tensor clone() const;
  /// Copies dense memory of the same dims and dtype from `other`; between devices one of which is the host it
  /// is done on return.
  void copy_from(const Tensor& other) const;
  /// This tensor where it is on `device`, else a copy there. Dense tensors only.
  Tensor to(Device device) const;
  /// Sets every byte to zero. Dense tensors only.
  void fill_zero() const;
  /// Host copy of a dense f32 tensor.
  std::vector<float> to_vector() const;
  /// Nobody else holds this storage: it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }
  bool shares_storage(const Tensor& other) const { return storage_ == other.storage_; }

 private:
  std::shared_ptr<void> storage_;
  int64_t offset_ = 0;
  Dims dims_, strides_;
  DType dtype_ = DType::f32;
  Device device_;
};

/// A quantized tensor: value = code * step. One step, or one for each index of dimension 0.
struct QTensor {
  Tensor codes;  ///< dense u8 or s8
  Tensor step;   ///< f32, [1] or [dim 0]
  int bits = 8;
  bool is_signed = true;

  /// Codes of `x` (f32; a leading KRSC slice or dense) on its device (kernels/fakequant.h states the
  /// rounding).
  static QTensor quantize(const Tensor& x, const Tensor& step, int bits, bool is_signed,
                          bool symmetric = false);
  Tensor dequantize() const;
};

}  // namespace rtfq
