#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"
#include "kernels/elementwise.h"

namespace rtfq::ops {

Variable relu(Tape& tape, const Variable& x) {
  const auto shape = kernels::make_elementwise_shape(x.data.count());
  Tensor y = Tensor::empty(x.data.dims(), DType::f32, x.data.device());
  launch<kernels::ReluForward>(tape.stream(), shape, {x.data.data(), y.data()});
  return tape.record(y, x.needs_gradient(), [of = Gradient(x), y, shape](Tape& t, const Tensor& g) {
    Tensor dx = g.unique() ? g : Tensor::empty(y.dims(), DType::f32, g.device());
    launch<kernels::ReluBackward>(t.stream(), shape, {g.data(), y.data(), dx.data()});
    t.accumulate(of, std::move(dx));
  });
}

Variable add(Tape& tape, const Variable& a, const Variable& b) {
  if (a.data.dims() != b.data.dims())
    throw std::invalid_argument("[add] " + to_string(a.data.dims()) + " and " + to_string(b.data.dims()) +
                                " differ");
  const auto shape = kernels::make_elementwise_shape(a.data.count());
  Tensor y = Tensor::empty(a.data.dims(), DType::f32, a.data.device());
  launch<kernels::Add>(tape.stream(), shape, {a.data.data(), b.data.data(), y.data()});
  return tape.record(y, a.needs_gradient() || b.needs_gradient(),
                     [to_a = Gradient(a), to_b = Gradient(b)](Tape& t, const Tensor& g) {
                       if (to_a.node >= 0) t.accumulate(to_a, g);
                       if (to_b.node >= 0) t.accumulate(to_b, g);
                     });
}

}  // namespace rtfq::ops
