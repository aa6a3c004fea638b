#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"
#include "kernels/elementwise.h"

namespace rtfq::ops {
namespace {

kernels::ElementwiseShape shape_of(const Tensor& x) {
  return kernels::make_elementwise_shape(x.count(), kernel_type(x.dtype()));
}

}  // namespace

Variable relu(Tape& tape, const Variable& x) {
  const auto shape = shape_of(x.data);
  Tensor y = Tensor::empty(x.data.dims(), x.data.dtype(), x.data.device());
  launch<kernels::ReluForward>(tape.stream(), shape, {x.data.data(), y.data()});
  return tape.record(y, x.needs_gradient(), [of = Gradient(x), y, shape](Tape& t, const Tensor& g) {
    Tensor dx = g.unique() ? g : Tensor::empty(y.dims(), g.dtype(), g.device());
    launch<kernels::ReluBackward>(t.stream(), shape, {g.data(), y.data(), dx.data()});
    t.accumulate(of, std::move(dx));
  });
}

Variable add(Tape& tape, const Variable& a, const Variable& b) {
  if (a.data.dims() != b.data.dims() || a.data.dtype() != b.data.dtype())
    throw std::invalid_argument(std::string("[add] ") + to_string(a.data.dtype()) + to_string(a.data.dims()) +
                                " and " + to_string(b.data.dtype()) + to_string(b.data.dims()) + " differ");
  const auto shape = shape_of(a.data);
  Tensor y = Tensor::empty(a.data.dims(), a.data.dtype(), a.data.device());
  launch<kernels::Add>(tape.stream(), shape, {a.data.data(), b.data.data(), y.data()});
  return tape.record(y, a.needs_gradient() || b.needs_gradient(),
                     [to_a = Gradient(a), to_b = Gradient(b)](Tape& t, const Tensor& g) {
                       if (to_a.node >= 0) t.accumulate(to_a, g);
                       if (to_b.node >= 0) t.accumulate(to_b, g);
                     });
}

Variable convert(Tape& tape, const Variable& x, DType type) {
  if (x.data.dtype() == type) return x;
  Tensor y = Tensor::empty(x.data.dims(), type, x.data.device());
  const auto shape = kernels::make_convert_shape(y.count(), kernel_type(x.data.dtype()), kernel_type(type));
  launch<kernels::Convert>(tape.stream(), shape, {x.data.data(), y.data()});
  return tape.record(y, x.needs_gradient(),
                     [of = Gradient(x), back = x.data.dtype()](Tape& t, const Tensor& g) {
                       Tape quiet(false, t.stream());
                       t.accumulate(of, convert(quiet, Tape::constant(g), back).data);
                     });
}

}  // namespace rtfq::ops
