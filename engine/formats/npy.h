#pragma once
// NumPy's .npy files (format versions 1 to 3), as `numpy.save` writes them.

#include <span>
#include <string>
#include <vector>

#include "engine/formats/array.h"

namespace rtfq::formats {

/// The array of a file. Little-endian and one-byte types of ElementType; in Fortran's order too, which
/// becomes strides. Throws FormatError naming the type, order or version that is not read; pickled objects
/// are refused.
ArrayView read_npy(Bytes file);

/// Version 1.0, f32, C order. Throws std::invalid_argument when values and shape do not match.
std::string write_npy(std::span<const float> values, std::span<const int64_t> shape);

}  // namespace rtfq::formats
