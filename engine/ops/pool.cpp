#include "kernels/pool.h"

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"

namespace rtfq::ops {

using kernels::output_height;
using kernels::output_width;

namespace {

kernels::PoolShape shape_of(const Tensor& x, int64_t window, int64_t stride, int64_t pad) {
  return kernels::make_pool_shape(x.dim(0), x.dim(1), x.dim(2), x.dim(3), window, stride, pad,
                                  kernel_type(x.dtype()));
}

}  // namespace

Variable max_pool(Tape& tape, const Variable& x, int64_t window, int64_t stride, int64_t pad) {
  const Tensor& d = x.data;
  const auto shape = shape_of(d, window, stride, pad);
  const Dims out{shape.n, output_height(shape), output_width(shape), shape.c};
  Tensor y = Tensor::empty(out, d.dtype(), d.device());
  const bool keep = tape.recording() && x.needs_gradient();
  const Tensor index = keep ? Tensor::empty(out, DType::u8, d.device()) : Tensor();
  launch<kernels::MaxPoolForward>(tape.stream(), shape,
                                  {d.data(), y.data(), keep ? index.as<uint8_t>() : nullptr});
  return tape.record(y, x.needs_gradient(), [of = Gradient(x), index, shape](Tape& t, const Tensor& g) {
    Tensor dx = Tensor::empty(of.dims, g.dtype(), g.device());
    launch<kernels::MaxPoolBackward>(t.stream(), shape, {g.data(), index.as<uint8_t>(), dx.data()});
    t.accumulate(of, std::move(dx));
  });
}

Variable average_pool(Tape& tape, const Variable& x) {
  const Tensor& d = x.data;
  const auto shape = shape_of(d, 1, 1, 0);
  Tensor y = Tensor::empty({shape.n, shape.c}, d.dtype(), d.device());
  launch<kernels::AveragePoolForward>(tape.stream(), shape, {d.data(), y.data()});
  return tape.record(y, x.needs_gradient(), [of = Gradient(x), shape](Tape& t, const Tensor& g) {
    Tensor dx = Tensor::empty(of.dims, g.dtype(), g.device());
    launch<kernels::AveragePoolBackward>(t.stream(), shape, {g.data(), dx.data()});
    t.accumulate(of, std::move(dx));
  });
}

}  // namespace rtfq::ops
