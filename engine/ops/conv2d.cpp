#include <optional>
#include <stdexcept>
#include <tuple>

#include "engine/ops/launch.h"
#include "engine/ops/shapes.h"
#include "kernels/convstatistics.h"

namespace rtfq::ops {

using kernels::Conv2dShape;

namespace {

Tensor empty_output(const Conv2dShape& shape, Device device) {
  return Tensor::empty({shape.n, kernels::output_height(shape), kernels::output_width(shape), shape.k},
                       static_cast<DType>(shape.y_type), device);
}

/// y with its statistics, where one launch gives both; else `taken` has none.
std::optional<Tensor> with_statistics(Stream stream, const Conv2dShape& shape, const Tensor& x,
                                      const Tensor& w, const float* scale, BatchStatistics& taken) {
  taken.mean = taken.variance = {};
  const auto both = kernels::make_convstatistics_shape(shape, taken.ends);
  if (!kernels::fuses_statistics(stream.device.backend, both)) return {};
  const Tensor packed = pack<kernels::ConvStatisticsForward>(stream, both, w);
  Tensor y = empty_output(shape, stream.device);
  const Dims dims{both.segments, shape.k};
  taken.mean = Tensor::empty(dims, DType::f32, stream.device);
  taken.variance = Tensor::empty(dims, DType::f32, stream.device);
  launch<kernels::ConvStatisticsForward>(
      stream, both,
      {x.data(), packed.defined() ? packed.data() : w.data(), y.data(), nullptr, scale,
       taken.mean.as<float>(), taken.variance.as<float>()});
  return y;
}

/// Member by member, of which the binding wants all: what pads the struct's end has any value.
bool same(const Conv2dShape& a, const Conv2dShape& b) {
  const auto members = [](const Conv2dShape& shape) {
    const auto& [n, h, w, c, k, r, s, stride, pad, c_parent, x, weight, y] = shape;
    return std::tie(n, h, w, c, k, r, s, stride, pad, c_parent, x, weight, y);
  };
  return members(a) == members(b);
}

}  // namespace

Conv2dShape conv2d_shape(const Tensor& x, const Tensor& w, int64_t stride) {
  if (x.rank() != 4 || w.rank() != 4 || w.dim(1) != w.dim(2))
    throw std::invalid_argument("[conv2d] expected x [n,h,w,c] and w [k,r,r,c], got " + to_string(x.dims()) +
                                " and " + to_string(w.dims()));
  if (x.dim(3) != w.dim(3))
    throw std::invalid_argument("[conv2d] weight expects " + std::to_string(w.dim(3)) +
                                " input channels, got " + std::to_string(x.dim(3)) +
                                ": the subnet's width does not fit its input");
  // c_parent of a KRSC view is the distance between neighbouring filter columns.
  return kernels::make_conv2d_shape(x.dim(0), x.dim(1), x.dim(2), x.dim(3), w.dim(0), w.dim(1), stride,
                                    w.dim(1) / 2, w.stride(2));
}

const void* PackedWeights::get(const Conv2dShape& shape, const Tensor& w, Stream stream) {
  for (const Entry& entry : entries_)
    if (same(entry.shape, shape)) return entry.packed.defined() ? entry.packed.data() : w.data();
  entries_.push_back({shape, pack<kernels::Conv2dForward>(stream, shape, w)});
  return entries_.back().packed.defined() ? entries_.back().packed.data() : w.data();
}

void conv2d_wgrad(Tape& tape, Conv2dShape shape, const Tensor& x, const Tensor& g, const Variable& w,
                  const float* scale) {
  if (w.sink.defined()) {
    launch<kernels::Conv2dWgrad>(tape.stream(), shape,
                                 {x.data(), g.data(), w.sink.as<float>(), true, nullptr, scale});
    return;
  }
  Tensor dw = Tensor::empty(w.data.dims(), DType::f32, g.device());
  shape.c_parent = shape.c;
  launch<kernels::Conv2dWgrad>(tape.stream(), shape,
                               {x.data(), g.data(), dw.as<float>(), false, nullptr, scale});
  tape.accumulate(w, std::move(dw));
}

void conv2d_dgrad(Tape& tape, const Conv2dShape& shape, const Tensor& g, const Tensor& w, const Variable& x) {
  const Tensor packed = pack<kernels::Conv2dDgrad>(tape.stream(), shape, w);
  Tensor dx = Tensor::empty(x.data.dims(), g.dtype(), g.device());
  launch<kernels::Conv2dDgrad>(tape.stream(), shape,
                               {g.data(), packed.defined() ? packed.data() : w.data(), dx.data(), nullptr});
  tape.accumulate(x, std::move(dx));
}

Tensor conv2d_forward(const Tape& tape, const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                      const float* scale, PackedWeights* cache, BatchStatistics* statistics) {
  const Stream stream = tape.stream();
  if (cache && tape.recording())
    throw std::logic_error("[conv2d] packed weights are kept in evaluation only");
  if (statistics)
    if (auto y = with_statistics(stream, shape, x, w, scale, *statistics)) return *y;
  PackedWeights once;
  const void* packed = (cache ? *cache : once).get(shape, w, stream);
  Tensor y = empty_output(shape, x.device());
  launch<kernels::Conv2dForward>(stream, shape, {x.data(), packed, y.data(), nullptr, scale});
  return y;
}

namespace {

Variable convolve(Tape& tape, const Variable& x, const Variable& w, int64_t stride, PackedWeights* cache,
                  BatchStatistics* statistics) {
  const rtfq_dtype type = kernel_type(x.data.dtype());
  const Conv2dShape shape = kernels::with_types(conv2d_shape(x.data, w.data, stride), type, RTFQ_F32, type);
  Tensor y = conv2d_forward(tape, shape, x.data, w.data, nullptr, cache, statistics);
  return tape.record(y, x.needs_gradient() || w.needs_gradient(), [x, w, shape](Tape& t, const Tensor& g) {
    if (w.needs_gradient()) conv2d_wgrad(t, shape, x.data, g, w);
    if (x.needs_gradient()) conv2d_dgrad(t, shape, g, w.data, x);
  });
}

}  // namespace

Variable conv2d(Tape& tape, const Variable& x, const Variable& w, int64_t stride, PackedWeights* cache) {
  return convolve(tape, x, w, stride, cache, nullptr);
}
Variable conv2d(Tape& tape, const Variable& x, const Variable& w, int64_t stride,
                BatchStatistics& statistics) {
  return convolve(tape, x, w, stride, nullptr, &statistics);
}

}  // namespace rtfq::ops
