#include "kernels/catalog/operands.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "kernels/batchnorm.h"
#include "kernels/bf16.h"
#include "kernels/convquant.h"
#include "kernels/elementwise.h"
#include "kernels/fakequant.h"
#include "kernels/int4.h"
#include "kernels/linear.h"
#include "kernels/normquant.h"

namespace rtfq::kernels::catalog {
namespace {

/// "name 5, other 7".
class Words {
 public:
  Words& add(const char* name, int64_t value) { return add(std::string(name) + " " + std::to_string(value)); }
  Words& add(const std::string& words) {
    text_ += (text_.empty() ? "" : ", ") + words;
    return *this;
  }
  std::string text() const { return text_; }

 private:
  std::string text_;
};

template <class Args>
Operands parameters(const rtfq_batchnorm_shape& s, const Args& a) {
  Operands all;
  const auto add = [&](const char* name, const float* const* rows) {
    for (int32_t i = 0; i < s.segments; ++i)
      all.push_back({std::string(name) + "[" + std::to_string(i) + "]", rows[i], RTFQ_F32});
  };
  add("scale", a.scale);
  if constexpr (requires { a.shift; }) add("shift", a.shift);
  return all;
}

/// What a fused norm's sum is made of, and `more`.
Operands sum_operands(const rtfq_normquant_shape& s, const NormQuantOperands& in, Operands more) {
  Operands all;
  const auto add_norm = [&](const std::string& name, const NormQuantInput& from) {
    all.insert(all.end(), {{name + ".x", from.x, s.norm.type},
                           {name + ".mean", from.mean, RTFQ_F32},
                           {name + ".variance", from.variance, RTFQ_F32}});
    for (Operand& one : parameters(s.norm, from)) all.push_back({name + "." + one.name, one.data, one.type});
  };
  add_norm("in.main", in.main);
  if (s.residual == RTFQ_RESIDUAL_NORM) add_norm("in.other", in.other);
  all.insert(all.end(),
             {{"in.residual", in.residual, s.residual == RTFQ_RESIDUAL_CODES ? RTFQ_U8 : s.norm.type},
              {"in.residual_step", in.residual_step, RTFQ_F32},
              {"in.step", in.step, RTFQ_F32},
              {"in.identity_step", in.identity_step, RTFQ_F32}});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// ", residual codes, identity none", as shapes.h calls them.
void add_forms(Words& words, rtfq_residual residual, rtfq_identity identity) {
  constexpr const char* residuals[] = {"none", "values", "codes", "norm"};
  constexpr const char* identities[] = {"none", "codes", "values"};
  words.add(std::string("residual ") + residuals[residual]);
  words.add(std::string("identity ") + identities[identity]);
}

}  // namespace

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";  // whatever its sign
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

double element(rtfq_dtype type, const void* data, std::size_t i) {
  const auto as = [&](auto value) {
    std::memcpy(&value, static_cast<const std::byte*>(data) + i * sizeof value, sizeof value);
    return value;
  };
  switch (type) {
    case RTFQ_F32:
      return as(float{});
    case RTFQ_BF16:
      return to_float(as(bf16{}));
    case RTFQ_F16:
      return to_float(as(f16{}));
    case RTFQ_U8:
      return as(uint8_t{});
    case RTFQ_S8:
      return as(int8_t{});
    case RTFQ_S32:
      return as(int32_t{});
    default:
      throw std::logic_error("[catalog] no comparison for this dtype");
  }
}

Operands inputs_of(const rtfq_fakequant_shape& s, const FakeQuantForwardArgs& a) {
  return {{"x", a.x, s.type}, {"step", a.step, RTFQ_F32}};
}
Operands inputs_of(const rtfq_fakequant_shape& s, const FakeQuantBackwardArgs& a) {
  return {{"g", a.g, s.type}, {"x", a.x, s.type}, {"step", a.step, RTFQ_F32}};
}
Operands inputs_of(const rtfq_fakequant_shape& s, const AbsSumArgs& a) {
  return {{"x", a.x, s.type}};
}
Operands inputs_of(const rtfq_conv2d_shape& s, const Conv2dForwardArgs& a) {
  return {{"x", a.x, s.x_type}, {"w", a.packed, s.w_type}, {"scale", a.scale, RTFQ_F32}};
}
Operands inputs_of(const rtfq_conv2d_shape& s, const Conv2dDgradArgs& a) {
  return {{"g", a.g, s.y_type}, {"w", a.packed, s.w_type}};
}
Operands inputs_of(const rtfq_conv2d_shape& s, const Conv2dWgradArgs& a) {
  return {{"x", a.x, s.x_type}, {"g", a.g, s.y_type}, {"scale", a.scale, RTFQ_F32}};
}
Operands inputs_of(const rtfq_linear_shape& s, const LinearForwardArgs& a) {
  return {
      {"x", a.x, s.x_type}, {"w", a.w, s.w_type}, {"bias", a.bias, RTFQ_F32}, {"scale", a.scale, RTFQ_F32}};
}
Operands inputs_of(const rtfq_linear_shape& s, const LinearDgradArgs& a) {
  return {{"g", a.g, s.y_type}, {"w", a.w, s.w_type}};
}
Operands inputs_of(const rtfq_linear_shape& s, const LinearWgradArgs& a) {
  return {{"x", a.x, s.x_type}, {"g", a.g, s.y_type}};
}
Operands inputs_of(const rtfq_batchnorm_shape& s, const BatchNormStatisticsArgs& a) {
  return {{"x", a.x, s.type}};
}
Operands inputs_of(const rtfq_batchnorm_shape& s, const BatchNormNormalizeArgs& a) {
  Operands all = parameters(s, a);
  all.insert(all.end(), {{"x", a.x, s.type}, {"mean", a.mean, RTFQ_F32}, {"variance", a.variance, RTFQ_F32}});
  return all;
}
Operands inputs_of(const rtfq_batchnorm_shape& s, const BatchNormReduceArgs& a) {
  return {
      {"x", a.x, s.type}, {"g", a.g, s.type}, {"mean", a.mean, RTFQ_F32}, {"variance", a.variance, RTFQ_F32}};
}
Operands inputs_of(const rtfq_batchnorm_shape& s, const BatchNormApplyArgs& a) {
  Operands all = parameters(s, a);
  all.insert(all.end(), {{"x", a.x, s.type},
                         {"g", a.g, s.type},
                         {"mean", a.mean, RTFQ_F32},
                         {"variance", a.variance, RTFQ_F32},
                         {"sum_g", a.sum_g, RTFQ_F32},
                         {"sum_gx", a.sum_gx, RTFQ_F32}});
  return all;
}
Operands inputs_of(const rtfq_elementwise_shape& s, const ReluForwardArgs& a) {
  return {{"x", a.x, s.type}};
}
Operands inputs_of(const rtfq_elementwise_shape& s, const ReluBackwardArgs& a) {
  return {{"g", a.g, s.type}, {"y", a.y, s.type}};
}
Operands inputs_of(const rtfq_elementwise_shape& s, const AddArgs& a) {
  return {{"a", a.a, s.type}, {"b", a.b, s.type}};
}

Operands inputs_of(const rtfq_normquant_shape& s, const NormQuantForwardArgs& a) {
  return sum_operands(s, a.in, {});
}
Operands inputs_of(const rtfq_normquant_shape& s, const NormQuantReduceArgs& a) {
  return sum_operands(s, a.in,
                      {{"g_codes", a.g_codes, s.norm.type}, {"g_identity", a.g_identity, s.norm.type}});
}
Operands inputs_of(const rtfq_normquant_shape& s, const NormQuantApplyArgs& a) {
  return sum_operands(s, a.in,
                      {{"g_z", a.g_z, s.norm.type},
                       {"g_codes", a.g_codes, s.norm.type},
                       {"g_identity", a.g_identity, s.norm.type},
                       {"sum_g", a.sum_g, RTFQ_F32},
                       {"sum_gx", a.sum_gx, RTFQ_F32},
                       {"other_sum_gx", a.other_sum_gx, RTFQ_F32}});
}
Operands inputs_of(const ConvQuantShape& s, const ConvQuantArgs& a) {
  return {{"x", a.x, s.conv.x_type},
          {"w", a.packed, s.conv.w_type},
          {"scale", a.scale, RTFQ_F32},
          {"mean", a.mean, RTFQ_F32},
          {"factor", a.factor, RTFQ_F32},
          {"shift", a.shift, RTFQ_F32},
          {"residual", a.residual, s.residual == RTFQ_RESIDUAL_CODES ? RTFQ_U8 : RTFQ_F32},
          {"step", a.step, RTFQ_F32}};
}
Operands inputs_of(const rtfq_fakequant_shape& s, const Int4QuantizeArgs& a) {
  return {{"x", a.x, s.type}, {"step", a.step, RTFQ_F32}};
}
Operands inputs_of(const rtfq_conv2d_shape& s, const Conv2dInt4Args& a) {
  return {{"x", a.x, s.x_type}, {"weights", a.weights, RTFQ_U8}, {"scale", a.scale, RTFQ_F32}};
}

std::string shape_text(const rtfq_fakequant_shape& s) {
  Words words;
  words.add("rows", s.rows).add("groups", s.groups).add("cols", s.cols);
  if (s.rows > 1 || s.groups > 1) words.add("row_stride", s.row_stride).add("group_stride", s.group_stride);
  words.add("qn", s.qn).add("qp", s.qp);
  if (s.per_row) words.add("a step per row");
  return words.add(type_name(s.type)).text();
}

std::string shape_text(const rtfq_conv2d_shape& s) {
  Words words;
  words.add("n", s.n).add("h", s.h).add("w", s.w).add("c", s.c).add("k", s.k).add("r", s.r).add("s", s.s);
  words.add("stride", s.stride).add("pad", s.pad).add("c_parent", s.c_parent);
  return words.add(std::string("x ") + type_name(s.x_type))
      .add(std::string("w ") + type_name(s.w_type))
      .add(std::string("y ") + type_name(s.y_type))
      .text();
}

std::string shape_text(const rtfq_linear_shape& s) {
  return Words()
      .add("n", s.n)
      .add("c", s.c)
      .add("k", s.k)
      .add("c_parent", s.c_parent)
      .add(std::string("x ") + type_name(s.x_type))
      .add(std::string("w ") + type_name(s.w_type))
      .add(std::string("y ") + type_name(s.y_type))
      .text();
}

std::string shape_text(const rtfq_batchnorm_shape& s) {
  std::string ends;
  for (int32_t i = 0; i < s.segments; ++i) ends += (i ? " " : "") + std::to_string(s.segment_end[i]);
  return Words()
      .add("n", s.n)
      .add("hw", s.hw)
      .add("c", s.c)
      .add("segments end at " + ends)
      .add(type_name(s.type))
      .text();
}

std::string shape_text(const rtfq_elementwise_shape& s) {
  return Words().add("count", s.count).add(type_name(s.type)).text();
}

std::string shape_text(const rtfq_normquant_shape& s) {
  Words words;
  words.add(shape_text(s.norm));
  add_forms(words, s.residual, s.identity);
  return words.add("qp", s.qp).add("identity_qp", s.identity_qp).text();
}

std::string shape_text(const ConvQuantShape& s) {
  Words words;
  words.add(shape_text(s.conv));
  if (!s.quantized) return words.add("z itself").text();
  add_forms(words, s.residual, s.identity);
  return words.add("qp", s.qp).add("identity_qp", s.identity_qp).add("x_qp", s.x_qp).text();
}

std::string changed_text(const Operands& inputs, const void* buffer, const std::string& otherwise,
                         const void* before, std::size_t bytes) {
  const auto *was = static_cast<const std::byte*>(before), *is = static_cast<const std::byte*>(buffer);
  const auto at = static_cast<std::size_t>(std::mismatch(was, was + bytes, is).first - was);
  for (const Operand& one : inputs) {
    if (one.data != buffer) continue;
    const std::size_t i = at / static_cast<std::size_t>(element_bytes(one.type));
    return one.name + "[" + std::to_string(i) + "] was " + number_text(element(one.type, was, i)) + ", is " +
           number_text(element(one.type, is, i));
  }
  return otherwise + ", byte " + std::to_string(at) + " of " + std::to_string(bytes);
}

}  // namespace rtfq::kernels::catalog
