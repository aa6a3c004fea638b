#include "kernels/conv2d.h"

#include <cstring>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"

namespace rtfq::ops {
namespace {

using kernels::Conv2dShape;
using kernels::output_height;
using kernels::output_width;

/// c_parent of a KRSC view: the distance between neighbouring filter columns.
int64_t parent_channels(const Tensor& w) {
  return w.stride(2);
}

Conv2dShape shape_of(const Tensor& x, const Tensor& w, int64_t stride) {
  if (x.rank() != 4 || w.rank() != 4 || w.dim(1) != w.dim(2))
    throw std::invalid_argument("[conv2d] expected x [n,h,w,c] and w [k,r,r,c], got " + to_string(x.dims()) +
                                " and " + to_string(w.dims()));
  if (x.dim(3) != w.dim(3))
    throw std::invalid_argument("[conv2d] weight expects " + std::to_string(w.dim(3)) +
                                " input channels, got " + std::to_string(x.dim(3)) +
                                ": the subnet's width does not fit its input");
  return kernels::make_conv2d_shape(x.dim(0), x.dim(1), x.dim(2), x.dim(3), w.dim(0), w.dim(1), stride,
                                    w.dim(1) / 2, parent_channels(w));
}

}  // namespace

const void* PackedWeights::get(const Conv2dShape& shape, const Tensor& w, Stream stream) {
  for (const Entry& entry : entries_)
    if (std::memcmp(&entry.shape, &shape, sizeof shape) == 0)
      return entry.packed.defined() ? entry.packed.data() : w.data();
  entries_.push_back({shape, pack<kernels::Conv2dForward>(stream, shape, w)});
  return entries_.back().packed.defined() ? entries_.back().packed.data() : w.data();
}

Variable conv2d(Tape& tape, const Variable& x, const Variable& w, int64_t stride, PackedWeights* cache) {
  const Conv2dShape shape = shape_of(x.data, w.data, stride);
  const Stream stream = tape.stream();
  PackedWeights once;
  if (cache && tape.recording())
    throw std::logic_error("[conv2d] packed weights are kept in evaluation only");
  const void* packed = (cache ? *cache : once).get(shape, w.data, stream);
  Tensor y = Tensor::empty({shape.n, output_height(shape), output_width(shape), shape.k}, DType::f32,
                           x.data.device());
  launch<kernels::Conv2dForward>(stream, shape, {x.data.data(), packed, y.data(), nullptr});

  const bool needed = x.needs_gradient() || w.needs_gradient();
  return tape.record(y, needed, [x, w, shape](Tape& t, const Tensor& g) {
    const Stream s = t.stream();
    if (w.needs_gradient()) {
      if (w.sink.defined()) {
        launch<kernels::Conv2dWgrad>(s, shape, {x.data.data(), g.data(), w.sink.as<float>(), true, nullptr});
      } else {
        Tensor dw = Tensor::empty(w.data.dims(), DType::f32, g.device());
        Conv2dShape dense = shape;
        dense.c_parent = shape.c;
        launch<kernels::Conv2dWgrad>(s, dense, {x.data.data(), g.data(), dw.as<float>(), false, nullptr});
        t.accumulate(w, std::move(dw));
      }
    }
    if (x.needs_gradient()) {
      const Tensor packed_dgrad = pack<kernels::Conv2dDgrad>(s, shape, w.data);
      Tensor dx = Tensor::empty(x.data.dims(), DType::f32, g.device());
      launch<kernels::Conv2dDgrad>(
          s, shape,
          {g.data(), packed_dgrad.defined() ? packed_dgrad.data() : w.data.data(), dx.data(), nullptr});
      t.accumulate(x, std::move(dx));
    }
  });
}

}  // namespace rtfq::ops
