#pragma once
// Operands and shapes in words, for messages: what a kernel's author calls them.

#include <string>
#include <vector>

#include "kernels/shapes.h"

namespace rtfq::kernels {
struct FakeQuantForwardArgs;
struct FakeQuantBackwardArgs;
struct AbsSumArgs;
struct Conv2dForwardArgs;
struct Conv2dDgradArgs;
struct Conv2dWgradArgs;
struct LinearForwardArgs;
struct LinearDgradArgs;
struct LinearWgradArgs;
struct BatchNormStatisticsArgs;
struct BatchNormNormalizeArgs;
struct BatchNormReduceArgs;
struct BatchNormApplyArgs;
struct ReluForwardArgs;
struct ReluBackwardArgs;
struct AddArgs;
struct NormQuantForwardArgs;
struct NormQuantReduceArgs;
struct NormQuantApplyArgs;
struct ConvQuantShape;
struct ConvQuantArgs;
struct Int4QuantizeArgs;
struct Conv2dInt4Args;
}  // namespace rtfq::kernels

namespace rtfq::kernels::catalog {

/// An input as the arguments' struct names it.
struct Operand {
  std::string name;
  const void* data;
  rtfq_dtype type;
};
using Operands = std::vector<Operand>;

/// The inputs of an operator; of those that plug-ins cannot replace, none. Weights are told apart elsewhere,
/// since arguments may point to packed ones.
template <class Shape, class Args>
Operands inputs_of(const Shape&, const Args&) {
  return {};
}
Operands inputs_of(const rtfq_fakequant_shape&, const FakeQuantForwardArgs&);
Operands inputs_of(const rtfq_fakequant_shape&, const FakeQuantBackwardArgs&);
Operands inputs_of(const rtfq_fakequant_shape&, const AbsSumArgs&);
Operands inputs_of(const rtfq_conv2d_shape&, const Conv2dForwardArgs&);
Operands inputs_of(const rtfq_conv2d_shape&, const Conv2dDgradArgs&);
Operands inputs_of(const rtfq_conv2d_shape&, const Conv2dWgradArgs&);
Operands inputs_of(const rtfq_linear_shape&, const LinearForwardArgs&);
Operands inputs_of(const rtfq_linear_shape&, const LinearDgradArgs&);
Operands inputs_of(const rtfq_linear_shape&, const LinearWgradArgs&);
Operands inputs_of(const rtfq_batchnorm_shape&, const BatchNormStatisticsArgs&);
Operands inputs_of(const rtfq_batchnorm_shape&, const BatchNormNormalizeArgs&);
Operands inputs_of(const rtfq_batchnorm_shape&, const BatchNormReduceArgs&);
Operands inputs_of(const rtfq_batchnorm_shape&, const BatchNormApplyArgs&);
Operands inputs_of(const rtfq_elementwise_shape&, const ReluForwardArgs&);
Operands inputs_of(const rtfq_elementwise_shape&, const ReluBackwardArgs&);
Operands inputs_of(const rtfq_elementwise_shape&, const AddArgs&);
Operands inputs_of(const rtfq_normquant_shape&, const NormQuantForwardArgs&);
Operands inputs_of(const rtfq_normquant_shape&, const NormQuantReduceArgs&);
Operands inputs_of(const rtfq_normquant_shape&, const NormQuantApplyArgs&);
Operands inputs_of(const ConvQuantShape&, const ConvQuantArgs&);
Operands inputs_of(const rtfq_fakequant_shape&, const Int4QuantizeArgs&);
Operands inputs_of(const rtfq_conv2d_shape&, const Conv2dInt4Args&);

/// "rows 5, groups 9, cols 7, row stride 90, ..."; empty where the case's name says it all.
template <class Shape>
std::string shape_text(const Shape&) {
  return "";
}
std::string shape_text(const rtfq_fakequant_shape&);
std::string shape_text(const rtfq_conv2d_shape&);
std::string shape_text(const rtfq_linear_shape&);
std::string shape_text(const rtfq_batchnorm_shape&);
std::string shape_text(const rtfq_elementwise_shape&);
std::string shape_text(const rtfq_normquant_shape&);
std::string shape_text(const ConvQuantShape&);

/// As many digits as tell floats apart.
std::string number_text(double);
/// Element i of an array. Throws std::logic_error for a type that is none.
double element(rtfq_dtype, const void* data, std::size_t i);

/// "x[3] was 0.5, is 1.5", of the first byte that differs.
std::string changed_text(const Operands&, const void* buffer, const std::string& otherwise,
                         const void* before, std::size_t bytes);

}  // namespace rtfq::kernels::catalog
