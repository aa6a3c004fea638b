#pragma once
// A tensor inside a file's bytes: type, shape and strides over a storage that other tensors may share.

#include <string>
#include <vector>

#include "engine/formats/bytes.h"

namespace rtfq::formats {

enum class ElementType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };
std::size_t size_of(ElementType);
/// As in PyTorch: "float32", "bfloat16", ...
const char* to_string(ElementType);

struct ArrayView {
  ElementType type = ElementType::f32;
  std::vector<int64_t> shape, strides;  ///< outermost first; strides in elements
  int64_t offset = 0;                   ///< of the first element in the storage, in elements
  Bytes storage;                        ///< little-endian, not aligned

  int64_t count() const;  ///< elements; only of a checked view
};

/// "[64, 3, 7, 7]".
std::string shape_text(std::span<const int64_t> shape);

/// Refuses a view that leaves its storage, has a negative size or stride or more than 16 dimensions, or more
/// elements than its storage (torch's expand(), of which a few bytes could ask for any amount of memory).
/// Throws FormatError naming the tensor; returns the view.
const ArrayView& checked(const ArrayView&, const std::string& name);

/// Strides of a row-major array.
std::vector<int64_t> dense_strides(std::span<const int64_t> shape);

/// The elements in row-major order as f32: f16 and bf16 exactly, f64 and integers rounded to the nearest.
std::vector<float> to_f32(const ArrayView&);

}  // namespace rtfq::formats
