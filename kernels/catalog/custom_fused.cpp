// The fused passes and 4-bit storage on shapes of any size: fused norms are compared whole, convolutions at
// sampled elements.
#include "kernels/catalog/convquant.h"
#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/int4.h"
#include "kernels/catalog/normquant_problems.h"

namespace rtfq::kernels::catalog::custom_parts {
namespace {

int32_t greatest_code(const CustomRequest& request) {
  if (request.is_signed) refuse(request, "codes of a normalized sum are unsigned: give --bits without s");
  return quant_bounds(request.bits, false).qp;
}

void refuse_given(const CustomRequest& request) {
  if (request.fill == Fill::given) refuse(request, "codes are drawn: --data is normal or zeros");
}

template <class Kind>
Kind kind(const CustomRequest& request, Dims& dims, const char* name, int64_t last) {
  const int64_t value = dims.get(name, 0);
  if (value < 0 || value > last) refuse(request, std::string("there is no such ") + name);
  return static_cast<Kind>(value);
}

std::vector<std::size_t> sampled(const CustomRequest& request, const Conv2dShape& s) {
  if (!request.reference) return {};
  return sample(conv2d_count_y(s), samples(static_cast<double>(s.r * s.s * s.c)), 3);
}

}  // namespace

std::unique_ptr<Instance> normquant(const CustomRequest& request) {
  Dims dims(request);
  normquant::Case c{"custom", dims.need("hw"), dims.need("c"), segment_ends(request, dims)};
  c.residual = kind<rtfq_residual>(request, dims, "residual", RTFQ_RESIDUAL_NORM);
  c.identity = kind<rtfq_identity>(request, dims, "identity", RTFQ_IDENTITY_VALUES);
  dims.finish();
  require_types(request);
  c.type = request.type;
  c.random = true;
  c.stores_g_z = c.residual != RTFQ_RESIDUAL_NONE;  // as training asks for it
  c.qp = greatest_code(request);
  // Gradients of both kinds, two norms and a hundred thousand rows: terms are twice the catalog's.
  c.sums = 2;
  c.zeros = request.fill == Fill::zeros;
  c.given = request.given;
  if (request.given) c.step = request.step;
  c.reference = request.reference;
  if (request.op == "normquant.forward") return instance_of(catalog::normquant::forward(c, request.contract));
  if (request.op == "normquant.reduce") return instance_of(catalog::normquant::reduce(c, request.contract));
  return instance_of(catalog::normquant::apply(c, request.contract));
}

std::unique_ptr<Instance> convquant(const CustomRequest& request) {
  Dims dims(request);
  ConvQuantCase c{conv2d_case(dims)};
  if (dims.get("signed", 0)) c.x = RTFQ_S8;
  const int64_t x_bits = dims.get("x_bits", request.bits);
  if (x_bits < 2 || x_bits > 8) refuse(request, "'x_bits' is 2 to 8");
  c.quantized = dims.get("z", 0) == 0;
  c.residual = kind<rtfq_residual>(request, dims, "residual", RTFQ_RESIDUAL_CODES);
  c.identity = kind<rtfq_identity>(request, dims, "identity", RTFQ_IDENTITY_VALUES);
  dims.finish();
  if (!c.quantized && (c.residual != RTFQ_RESIDUAL_NONE || c.identity != RTFQ_IDENTITY_NONE))
    refuse(request, "z itself has neither residual nor identity");
  if (request.type != RTFQ_F32) refuse(request, "operands are codes, z and values f32: leave --dtype f32");
  refuse_given(request);
  c.qp = greatest_code(request);
  if (c.x == RTFQ_U8) c.x_qp = quant_bounds(static_cast<int>(x_bits), false).qp;
  c.zeros = request.fill == Fill::zeros;
  c.reference = request.reference;
  c.sampled = sampled(request, c.conv.shape());
  return instance_of(convquant_problem(c, request.contract));
}

std::unique_ptr<Instance> int4(const CustomRequest& request) {
  if (request.op == "int4.quantize") {
    if (request.bits > 4) refuse(request, "--bits is 2 to 4");
    return instance_of(int4_quantize_problem(quantizer_case(request), request.contract));
  }
  Dims dims(request);
  Int4Convolution c{conv2d_case(dims)};
  dims.finish();
  if (request.type != RTFQ_F32 && request.type != RTFQ_BF16) refuse(request, "results are f32 or bf16");
  if (request.fill == Fill::zeros) refuse(request, "codes are drawn: leave --data normal");
  refuse_given(request);
  c.y = request.type;
  c.reference = request.reference;
  c.sampled = sampled(request, c.conv.shape());
  return instance_of(int4_conv2d_problem(c, request.contract));
}

}  // namespace rtfq::kernels::catalog::custom_parts
