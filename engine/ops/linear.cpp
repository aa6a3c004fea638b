#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/shapes.h"

namespace rtfq::ops {

kernels::LinearShape linear_shape(const Tensor& x, const Tensor& w, const Tensor& bias) {
  if (x.rank() != 2 || w.rank() != 2 || x.dim(1) != w.dim(1) || bias.count() != w.dim(0))
    throw std::invalid_argument("[linear] expected x [n,c], w [k,c], bias [k], got " + to_string(x.dims()) +
                                ", " + to_string(w.dims()) + ", " + to_string(bias.dims()));
  return kernels::make_linear_shape(x.dim(0), x.dim(1), w.dim(0), w.stride(0));
}

void linear_backward(Tape& tape, const kernels::LinearShape& shape, const Tensor& g, const Tensor& x,
                     const Gradient& to_x, const Variable& w, const Variable& bias) {
  const Stream s = tape.stream();
  if (bias.node >= 0)
    throw std::logic_error("[linear] a bias that is not a parameter cannot be differentiated");
  float* dbias = bias.sink.defined() ? bias.sink.as<float>() : nullptr;
  if (w.sink.defined()) {
    launch<kernels::LinearWgrad>(s, shape, {x.data(), g.data(), w.sink.as<float>(), dbias, true, nullptr});
  } else if (w.node >= 0) {
    // One launch has one accumulate flag; the bias gradient gathers over passes, so the weight's starts from
    // zero.
    Tensor dw = Tensor::zeros(w.data.dims(), DType::f32, g.device());
    kernels::LinearShape dense = shape;
    dense.c_parent = shape.c;
    launch<kernels::LinearWgrad>(s, dense, {x.data(), g.data(), dw.as<float>(), dbias, true, nullptr});
    tape.accumulate(w, std::move(dw));
  }
  if (to_x.node < 0) return;
  Tensor dx = Tensor::empty(to_x.dims, DType::f32, g.device());
  launch<kernels::LinearDgrad>(s, shape, {g.data(), w.data.data(), dx.data(), nullptr});
  tape.accumulate(to_x, std::move(dx));
}

Variable linear(Tape& tape, const Variable& x, const Variable& w, const Variable& bias) {
  const auto shape = linear_shape(x.data, w.data, bias.data);
  Tensor y = Tensor::empty({shape.n, shape.k}, DType::f32, x.data.device());
  launch<kernels::LinearForward>(tape.stream(), shape,
                                 {x.data.data(), w.data.data(), bias.data.as<float>(), y.data(), nullptr});
  const bool needed = x.needs_gradient() || w.needs_gradient() || bias.needs_gradient();
  return tape.record(y, needed, [x, w, bias, shape](Tape& t, const Tensor& g) {
    linear_backward(t, shape, g, x.data, Gradient(x), w, bias);
  });
}

}  // namespace rtfq::ops
