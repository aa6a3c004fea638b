#include "kernels/plugin/cubin_arguments.h"

#include <algorithm>

namespace rtfq::kernels::plugin {
namespace {

/// Readers of one family's members.
template <class Shape, class Arguments>
struct Members {
  static const Shape& shape(const void* s) { return *static_cast<const Shape*>(s); }

  template <auto Arguments::*member>
  static constexpr CubinArgument operand(const char* name) {
    return {name, true, [](const void*, const void* a) {
              return CubinValue{.pointer = static_cast<const Arguments*>(a)->*member};
            }};
  }
  template <auto Shape::*member>
  static constexpr CubinArgument number(const char* name) {
    return {name, false, [](const void* s, const void*) { return CubinValue{.number = shape(s).*member}; }};
  }
  static constexpr CubinArgument null{
      "null", true, [](const void*, const void*) { return CubinValue{.pointer = nullptr}; }};
  static rtfq_dtype type(const void* s) { return shape(s).type; }
};

using FakeQuant = Members<rtfq_fakequant_shape, rtfq_fakequant_forward_args>;

int64_t fakequant_elements(const void* shape) {
  const auto& s = FakeQuant::shape(shape);
  return s.rows * s.groups * s.cols;
}

constexpr CubinArgument fakequant_arguments[] = {
    FakeQuant::operand<&rtfq_fakequant_forward_args::x>("x"),
    FakeQuant::operand<&rtfq_fakequant_forward_args::step>("step"),
    FakeQuant::operand<&rtfq_fakequant_forward_args::y>("y"),
    FakeQuant::operand<&rtfq_fakequant_forward_args::codes>("codes"),
    {"count", false, [](const void* s, const void*) { return CubinValue{.number = fakequant_elements(s)}; }},
    FakeQuant::number<&rtfq_fakequant_shape::qn>("qn"),
    FakeQuant::number<&rtfq_fakequant_shape::qp>("qp"),
    FakeQuant::number<&rtfq_fakequant_shape::rows>("rows"),
    FakeQuant::number<&rtfq_fakequant_shape::groups>("groups"),
    FakeQuant::number<&rtfq_fakequant_shape::cols>("cols"),
    FakeQuant::number<&rtfq_fakequant_shape::row_stride>("row_stride"),
    FakeQuant::number<&rtfq_fakequant_shape::group_stride>("group_stride"),
    FakeQuant::number<&rtfq_fakequant_shape::per_row>("per_row"),
    FakeQuant::null,
};

std::vector<std::string> fakequant_needed(const void* shape) {
  const auto& s = FakeQuant::shape(shape);
  if (s.per_row) return {"rows", "per_row"};
  if (s.rows * s.groups > 1) return {"row_stride", "group_stride"};
  return {};
}

template <class Arguments>
using Elementwise = Members<rtfq_elementwise_shape, Arguments>;

template <class Arguments>
constexpr CubinArgument elements_of =
    Elementwise<Arguments>::template number<&rtfq_elementwise_shape::count>("count");

constexpr CubinArgument relu_forward_arguments[] = {
    Elementwise<rtfq_relu_forward_args>::operand<&rtfq_relu_forward_args::x>("x"),
    Elementwise<rtfq_relu_forward_args>::operand<&rtfq_relu_forward_args::y>("y"),
    elements_of<rtfq_relu_forward_args>,
    Elementwise<rtfq_relu_forward_args>::null,
};
constexpr CubinArgument relu_backward_arguments[] = {
    Elementwise<rtfq_relu_backward_args>::operand<&rtfq_relu_backward_args::g>("g"),
    Elementwise<rtfq_relu_backward_args>::operand<&rtfq_relu_backward_args::y>("y"),
    Elementwise<rtfq_relu_backward_args>::operand<&rtfq_relu_backward_args::dx>("dx"),
    elements_of<rtfq_relu_backward_args>,
    Elementwise<rtfq_relu_backward_args>::null,
};
constexpr CubinArgument add_arguments[] = {
    Elementwise<rtfq_add_args>::operand<&rtfq_add_args::a>("a"),
    Elementwise<rtfq_add_args>::operand<&rtfq_add_args::b>("b"),
    Elementwise<rtfq_add_args>::operand<&rtfq_add_args::y>("y"),
    elements_of<rtfq_add_args>,
    Elementwise<rtfq_add_args>::null,
};

CubinFamily elementwise(const char* name, std::span<const CubinArgument> arguments) {
  using Any = Elementwise<rtfq_add_args>;
  return {name, arguments, [](const void* s) { return Any::shape(s).count; }, Any::type,
          [](const void*) { return std::vector<std::string>{}; }};
}

std::span<const CubinFamily> families() {
  static const CubinFamily list[] = {
      {"fakequant.forward", fakequant_arguments, fakequant_elements, FakeQuant::type, fakequant_needed},
      elementwise("relu.forward", relu_forward_arguments),
      elementwise("relu.backward", relu_backward_arguments),
      elementwise("add", add_arguments),
  };
  return list;
}

}  // namespace

const CubinArgument* CubinFamily::find(const std::string& argument) const {
  const auto found = std::find_if(arguments.begin(), arguments.end(),
                                  [&](const CubinArgument& one) { return argument == one.name; });
  return found == arguments.end() ? nullptr : &*found;
}

const CubinFamily* cubin_family(const std::string& name) {
  for (const CubinFamily& one : families())
    if (name == one.name) return &one;
  return nullptr;
}

std::string cubin_families() {
  std::string list;
  for (const CubinFamily& one : families()) list += (list.empty() ? "" : ", ") + std::string(one.name);
  return list;
}

}  // namespace rtfq::kernels::plugin
