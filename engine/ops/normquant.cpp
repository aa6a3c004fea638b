#include "kernels/normquant.h"

#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/norm_parts.h"
#include "engine/ops/quantized.h"
#include "engine/reducer.h"

namespace rtfq::ops {
namespace {

using kernels::NormQuantShape;

struct Saved {
  NormQuantShape shape;
  NormInput main;
  ResidualTerm residual;
  LearnedStep codes, identity;
};

kernels::NormQuantInput input_of(const NormInput& in) {
  kernels::NormQuantInput all{};
  all.x = in.x.data.data();
  all.mean = in.statistics.mean.as<float>();
  all.variance = in.statistics.variance.as<float>();
  for (std::size_t i = 0; i < in.segments.size(); ++i) {
    all.scale[i] = in.segments[i].scale.data.as<float>();
    all.shift[i] = in.segments[i].shift.data.as<float>();
  }
  return all;
}

kernels::NormQuantOperands operands_of(const Saved& saved) {
  kernels::NormQuantOperands in{};
  in.main = input_of(saved.main);
  const ResidualTerm& residual = saved.residual;
  if (residual.norm) in.other = input_of(*residual.norm);
  if (residual.values.data.defined()) in.residual = residual.values.data.data();
  if (residual.codes.step.defined()) {
    in.residual = residual.codes.codes.data.data();
    in.residual_step = residual.codes.step.as<float>();
  }
  in.step = saved.codes.step.data.as<float>();
  if (saved.identity.step.data.defined()) in.identity_step = saved.identity.step.data.as<float>();
  return in;
}

rtfq_residual kind_of(const ResidualTerm& term, const Tensor& x) {
  const int given =
      (term.values.data.defined() ? 1 : 0) + (term.codes.step.defined() ? 1 : 0) + (term.norm ? 1 : 0);
  if (given > 1) throw std::logic_error("[normquant] more than one residual");
  const Tensor& other = term.norm                   ? term.norm->x.data
                        : term.codes.step.defined() ? term.codes.codes.data
                                                    : term.values.data;
  if (given && (other.dims() != x.dims() || (!term.codes.step.defined() && other.dtype() != x.dtype())))
    throw std::invalid_argument(std::string("[normquant] the residual is ") + to_string(other.dtype()) +
                                to_string(other.dims()) + ", the sum " + to_string(x.dtype()) +
                                to_string(x.dims()));
  return term.norm                    ? RTFQ_RESIDUAL_NORM
         : term.codes.step.defined()  ? RTFQ_RESIDUAL_CODES
         : term.values.data.defined() ? RTFQ_RESIDUAL_VALUES
                                      : RTFQ_RESIDUAL_NONE;
}

float* sink_of(const Variable& step) {
  return step.sink.defined() ? step.sink.as<float>() : nullptr;
}

const void* data_or_null(const Tensor& t) {
  return t.defined() ? t.data() : nullptr;
}

/// A tensor of the size of z that a gradient may go to: one of these that nobody else holds, or a new one.
Tensor reuse(const Tensor& a, const Tensor& b, const Tensor& like) {
  if (a.defined() && a.unique()) return a;
  if (b.defined() && b.unique()) return b;
  return Tensor::empty(like.dims(), like.dtype(), like.device());
}

void remake(NormInput& in) {
  if (in.remake) in.x.data = in.remake();
}

void backward(Tape& tape, Saved saved, const Tensor& g_codes, const Tensor& g_identity) {
  remake(saved.main);
  if (saved.residual.norm) remake(*saved.residual.norm);
  const auto& [shape, main, residual, codes, identity] = saved;
  const BackwardSums sums(main.statistics.mean, residual.norm ? 3 : 2);
  const Tensor sum_g = sums[0], sum_gx = sums[1], other_sum_gx = residual.norm ? sums[2] : Tensor();
  const bool stores = shape.residual != RTFQ_RESIDUAL_NONE;
  Tensor g_z = stores ? reuse(g_codes, g_identity, main.x.data) : Tensor();

  kernels::NormQuantReduceArgs reduce{};
  reduce.in = operands_of(saved);
  reduce.g_codes = data_or_null(g_codes);
  reduce.g_identity = data_or_null(g_identity);
  reduce.g_z = stores ? g_z.data() : nullptr;
  reduce.sum_g = sum_g.as<float>();
  reduce.sum_gx = sum_gx.as<float>();
  reduce.other_sum_gx = residual.norm ? other_sum_gx.as<float>() : nullptr;
  reduce.ds = sink_of(codes.step);
  reduce.identity_ds = sink_of(identity.step);
  reduce.grad_scale = codes.grad_scale;
  reduce.identity_grad_scale = identity.grad_scale;
  launch<kernels::NormQuantReduce>(tape.stream(), shape, reduce);

  accumulate_affine(
      tape.stream(), main.segments, sum_g, sum_gx,
      residual.norm ? std::span<const NormSegment>(residual.norm->segments) : std::span<const NormSegment>(),
      other_sum_gx);
  sum_norms_over_ranks(sums.all());

  kernels::NormQuantApplyArgs apply{};
  apply.in = reduce.in;
  apply.g_z = reduce.g_z;
  apply.g_codes = reduce.g_codes;
  apply.g_identity = reduce.g_identity;
  apply.sum_g = sum_g.as<float>();
  apply.sum_gx = sum_gx.as<float>();
  apply.other_sum_gx = reduce.other_sum_gx;
  for (std::size_t i = 0; i < main.statistics.counts.size(); ++i)
    apply.counts[i] = static_cast<float>(main.statistics.counts[i]);
  // With a residual g_codes went into g_z, which the residual or the other norm's gradient takes over.
  Tensor dx = !stores && g_codes.defined() && g_codes.unique() && !g_identity.defined()
                  ? g_codes
                  : Tensor::empty(main.x.data.dims(), main.x.data.dtype(), main.x.data.device());
  apply.dx = dx.data();
  apply.other_dx = residual.norm ? g_z.data() : nullptr;
  launch<kernels::NormQuantApply>(tape.stream(), shape, apply);
  if (main.x.needs_gradient()) tape.accumulate(main.x, std::move(dx));
  const Variable& other = residual.norm                    ? residual.norm->x
                          : residual.values.data.defined() ? residual.values
                                                           : residual.codes.codes;
  if (stores && other.needs_gradient()) tape.accumulate(other, std::move(g_z));
}

}  // namespace

NormQuantResult norm_quant(Tape& tape, const NormInput& main, const ResidualTerm& residual,
                           const LearnedStep& codes, IdentityForm form, const LearnedStep* identity) {
  const Tensor& x = main.x.data;
  if (codes.bounds.qn != 0 || (identity && identity->bounds.qn != 0))
    throw std::invalid_argument("[normquant] codes of a sum are unsigned");
  if ((form == IdentityForm::codes) != (identity != nullptr))
    throw std::logic_error("[normquant] identity codes need a step of their own, other forms none");
  const rtfq_identity kind = form == IdentityForm::codes    ? RTFQ_IDENTITY_CODES
                             : form == IdentityForm::values ? RTFQ_IDENTITY_VALUES
                                                            : RTFQ_IDENTITY_NONE;
  auto saved = std::make_shared<Saved>(
      Saved{kernels::make_normquant_shape(norm_shape(x, main.segments, main.epsilon), kind_of(residual, x),
                                          kind, codes.bounds.qp, identity ? identity->bounds.qp : 255),
            main, residual, codes, identity ? *identity : LearnedStep{}});
  Tensor out = Tensor::empty(x.dims(), DType::u8, x.device());
  Tensor out_identity = form == IdentityForm::none
                            ? Tensor()
                            : Tensor::empty(x.dims(), identity ? DType::u8 : x.dtype(), x.device());
  launch<kernels::NormQuantForward>(
      tape.stream(), saved->shape,
      {operands_of(*saved), out.as<uint8_t>(), form == IdentityForm::none ? nullptr : out_identity.data()});
  if (main.remake) saved->main.x.data = {};
  if (residual.norm && residual.norm->remake) saved->residual.norm->x.data = {};

  const bool needed = any_needs_gradient(main) || (residual.norm && any_needs_gradient(*residual.norm)) ||
                      residual.values.needs_gradient() || residual.codes.codes.needs_gradient() ||
                      codes.step.needs_gradient() || (identity && identity->step.needs_gradient());
  NormQuantResult result;
  result.codes.step = codes.step.data;
  if (form == IdentityForm::none) {
    result.codes.codes = tape.record(std::move(out), needed,
                                     [saved](Tape& t, const Tensor& g) { backward(t, *saved, g, {}); });
    return result;
  }
  auto [first, second] = tape.record(std::move(out), std::move(out_identity), needed,
                                     [saved](Tape& t, const Tensor& g_codes, const Tensor& g_identity) {
                                       backward(t, *saved, g_codes, g_identity);
                                     });
  result.codes.codes = std::move(first);
  if (identity)
    result.identity = {std::move(second), identity->step.data};
  else
    result.identity_values = std::move(second);
  return result;
}

Tensor norm_sum(Stream stream, const NormInput& in, const ResidualTerm& residual) {
  Tape quiet(false, stream);
  const Variable z = batch_norm(quiet, in);
  if (residual.norm) return add(quiet, z, batch_norm(quiet, *residual.norm)).data;
  if (residual.values.data.defined()) return add(quiet, z, residual.values).data;
  if (!residual.codes.step.defined()) return z.data;
  const QTensor q{residual.codes.codes.data, residual.codes.step, 8, false};
  return add(quiet, z, convert(quiet, Tape::constant(q.dequantize()), z.data.dtype())).data;
}

}  // namespace rtfq::ops
