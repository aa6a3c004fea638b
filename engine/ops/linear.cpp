#include "kernels/linear.h"

#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"

namespace rtfq::ops {

Variable linear(Tape& tape, const Variable& x, const Variable& w, const Variable& bias) {
  if (x.data.rank() != 2 || w.data.rank() != 2 || x.data.dim(1) != w.data.dim(1) ||
      bias.data.count() != w.data.dim(0))
    throw std::invalid_argument("[linear] expected x [n,c], w [k,c], bias [k], got " +
                                to_string(x.data.dims()) + ", " + to_string(w.data.dims()) + ", " +
                                to_string(bias.data.dims()));
  const auto shape =
      kernels::make_linear_shape(x.data.dim(0), x.data.dim(1), w.data.dim(0), w.data.stride(0));
  Tensor y = Tensor::empty({shape.n, shape.k}, DType::f32, x.data.device());
  launch<kernels::LinearForward>(tape.stream(), shape,
                                 {x.data.data(), w.data.data(), bias.data.as<float>(), y.data(), nullptr});

  const bool needed = x.needs_gradient() || w.needs_gradient() || bias.needs_gradient();
  return tape.record(y, needed, [x, w, bias, shape](Tape& t, const Tensor& g) {
    const Stream s = t.stream();
    if (bias.node >= 0)
      throw std::logic_error("[linear] a bias that is not a parameter cannot be differentiated");
    float* dbias = bias.sink.defined() ? bias.sink.as<float>() : nullptr;
    if (w.sink.defined()) {
      launch<kernels::LinearWgrad>(s, shape,
                                   {x.data.data(), g.data(), w.sink.as<float>(), dbias, true, nullptr});
    } else if (w.node >= 0) {
      // One launch has one accumulate flag; the bias gradient gathers over passes, so the weight's starts
      // from zero.
      Tensor dw = Tensor::zeros(w.data.dims(), DType::f32, g.device());
      kernels::LinearShape dense = shape;
      dense.c_parent = shape.c;
      launch<kernels::LinearWgrad>(s, dense, {x.data.data(), g.data(), dw.as<float>(), dbias, true, nullptr});
      t.accumulate(w, std::move(dw));
    }
    if (x.needs_gradient()) {
      Tensor dx = Tensor::empty(x.data.dims(), DType::f32, g.device());
      launch<kernels::LinearDgrad>(s, shape, {g.data(), w.data.data(), dx.data(), nullptr});
      t.accumulate(x, std::move(dx));
    }
  });
}

}  // namespace rtfq::ops
