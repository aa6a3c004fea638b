#include "engine/array_file.h"

#include <stdexcept>

#include "engine/formats/npy.h"
#include "engine/safetensors.h"

namespace rtfq {
namespace {

/// The axes of `x` in another order: axis i of the result is axis order[i].
Tensor permuted(const Tensor& x, const std::array<int, 4>& order) {
  if (x.rank() != 4 || !x.dense())
    throw std::invalid_argument("[tensor] expected a dense tensor of 4 dimensions");
  const Dims dims{x.dim(order[0]), x.dim(order[1]), x.dim(order[2]), x.dim(order[3])};
  Tensor y = Tensor::empty(dims);
  const float* from = x.as<float>();
  float* to = y.as<float>();
  for (int64_t a = 0; a < dims[0]; ++a)
    for (int64_t b = 0; b < dims[1]; ++b)
      for (int64_t c = 0; c < dims[2]; ++c)
        for (int64_t d = 0; d < dims[3]; ++d)
          *to++ = from[a * x.stride(order[0]) + b * x.stride(order[1]) + c * x.stride(order[2]) +
                       d * x.stride(order[3])];
  return y;
}

}  // namespace

Tensor load_npy(const std::string& path) {
  const std::vector<unsigned char> bytes = formats::read_whole_file(path);
  try {
    const formats::ArrayView view = formats::read_npy(bytes);
    if (view.shape.size() > Dims::max_rank)
      throw formats::FormatError("it has the shape " + formats::shape_text(view.shape) +
                                 ", expected at most 4 dimensions");
    return Tensor::from(formats::to_f32(view), Dims(view.shape));
  } catch (const formats::FormatError& error) {
    throw std::runtime_error("[npy] " + path + ": " + error.what());
  }
}

void save_npy(const std::string& path, const Tensor& tensor) {
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
  write_file_atomically(path, formats::write_npy(tensor.to_vector(), shape));
}

Tensor nchw_to_nhwc(const Tensor& images) {
  return permuted(images, {0, 2, 3, 1});
}

Tensor nhwc_to_nchw(const Tensor& images) {
  return permuted(images, {0, 3, 1, 2});
}

}  // namespace rtfq
