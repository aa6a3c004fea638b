#include "kernels/catalog/custom.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/typed.h"
#include "kernels/elementwise.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace custom_parts {

int64_t Dims::need(const char* name) {
  read_.emplace_back(name);
  const auto found = request_.dims.find(name);
  if (found == request_.dims.end()) refuse(request_, std::string("there is no '") + name + "'");
  return found->second;
}

int64_t Dims::get(const char* name, int64_t otherwise) {
  return has(name) ? need(name) : otherwise;
}

void Dims::finish() const {
  for (const auto& [name, value] : request_.dims)
    if (std::find(read_.begin(), read_.end(), name) == read_.end())
      refuse(request_, "'" + name + "' is none of them");
}

void refuse(const CustomRequest& request, const std::string& text) {
  std::string got;
  for (const auto& [name, value] : request.dims)
    got += (got.empty() ? "" : ",") + name + "=" + std::to_string(value);
  throw std::invalid_argument("[" + request.op + "] expected a shape of " + dims_text(request.op) + ", got " +
                              (got.empty() ? "nothing" : got) + ": " + text);
}

Conv2dCase conv2d_case(Dims& dims) {
  const int64_t c = dims.need("c"), filter = dims.need("filter");
  return {"custom",
          dims.need("n"),
          dims.need("h"),
          dims.need("w"),
          c,
          dims.need("k"),
          filter,
          dims.get("stride", 1),
          dims.get("pad", filter / 2),
          dims.get("of", c)};
}

std::vector<int64_t> segment_ends(const CustomRequest& request, Dims& dims) {
  const int64_t n = dims.need("n"), segments = dims.get("segments", 1);
  if (segments < 1 || segments > RTFQ_MAX_SEGMENTS || n < segments)
    refuse(request, "'segments' is 1 to " + std::to_string(RTFQ_MAX_SEGMENTS) + " and at most n");
  std::vector<int64_t> ends;
  for (int64_t i = 1; i <= segments; ++i) ends.push_back(n * i / segments);
  return ends;
}

std::size_t samples(double terms) {
  constexpr double multiply_adds = 4e8;
  return static_cast<std::size_t>(std::clamp(multiply_adds / terms, 64.0, 4096.0));
}

void require_types(const CustomRequest& request, bool f16) {
  if (request.type == RTFQ_F32 || request.type == RTFQ_BF16 || (f16 && request.type == RTFQ_F16)) return;
  refuse(request, f16 ? "operands are f32, bf16 or f16" : "operands are f32 or bf16");
}

void fill(const CustomRequest& request, float* x, std::size_t count, uint64_t seed, float mean,
          float deviation) {
  const std::size_t drawn = std::min<std::size_t>(count, (1 << 18) - 37);
  switch (request.fill) {
    case Fill::zeros:
      std::fill_n(x, count, 0.0f);
      return;
    case Fill::given:
      for (std::size_t i = 0; i < count; ++i) x[i] = (*request.given)[i % request.given->size()];
      return;
    case Fill::special:
      fill_exact(x, drawn, seed);
      break;
    case Fill::normal:
      fill_normal(x, drawn, seed, mean, deviation);
      break;
  }
  for (std::size_t i = drawn; i < count; ++i) x[i] = x[i - drawn];
}

std::vector<std::size_t> sample(std::size_t count, std::size_t wanted, uint64_t seed) {
  std::set<std::size_t> chosen{0, count - 1};
  for (std::size_t i = 0; chosen.size() < std::min(count, wanted) && i < 4 * wanted; ++i) {
    const auto bits = philox4x32(seed, i, 7);
    chosen.insert((static_cast<uint64_t>(bits[0]) << 32 | bits[1]) % count);
  }
  return {chosen.begin(), chosen.end()};
}

quantizer::Case quantizer_case(const CustomRequest& request) {
  Dims dims(request);
  const QuantBounds bounds = quant_bounds(request.bits, request.is_signed);
  quantizer::Case c;
  c.name = "custom";
  if (dims.has("k")) {
    const int64_t k = dims.need("k"), rs = dims.need("rs"), channels = dims.need("c");
    c.shape = make_fakequant_weight_shape(k, rs, channels, dims.get("of", channels), bounds,
                                          dims.get("per_row", 0) != 0);
  } else {
    c.shape = make_fakequant_shape(dims.need("count"), bounds);
  }
  dims.finish();
  require_types(request, true);
  c.shape.type = request.type;
  c.step = request.step;
  c.given = request.given;
  c.reference = request.reference;
  c.data = request.fill == Fill::special ? quantizer::Data::special
           : request.fill == Fill::zeros ? quantizer::Data::zeros
                                         : quantizer::Data::random;
  return c;
}

std::unique_ptr<Instance> fakequant(const CustomRequest& request) {
  const quantizer::Case c = quantizer_case(request);
  if (request.op == "fakequant.forward")
    return instance_of(quantizer::forward(c, true, false, request.contract));
  if (request.op == "fakequant.backward")
    return instance_of(quantizer::backward(c, {true, false, true}, request.contract));
  return instance_of(quantizer::abs_sum(c, false));
}

std::unique_ptr<Instance> elementwise(const CustomRequest& request) {
  Dims dims(request);
  const int64_t count = dims.need("count");
  dims.finish();
  require_types(request);
  const auto shape = make_elementwise_shape(count, request.type);
  const auto n = static_cast<std::size_t>(count);
  const auto build = [&](auto op, bool two, auto bind, auto expect) -> std::unique_ptr<Instance> {
    using Op = decltype(op);
    auto problem = std::make_unique<Problem<Op>>();
    problem->shape = shape;
    std::vector<float> a, b;
    const void* a_data = operand(*problem, request, &a, n, 51);
    const void* b_data = two ? operand(*problem, request, &b, n, 52) : a_data;
    std::vector<double> values(request.reference ? n : 0);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] =
          stored(request.type, expect(static_cast<double>(a[i]), static_cast<double>(two ? b[i] : a[i])));
    void* y = add_typed(problem.get(), request.type, n);
    problem->args = bind(a_data, b_data, y);
    problem->expected.push_back({"y", problem->last(), request.type, std::move(values)});
    return instance_of(std::move(problem));
  };
  if (request.op == "relu.forward")
    return build(
        ReluForward{}, false,
        [](const void* a, const void*, void* y) {
          return ReluForwardArgs{a, y};
        },
        [](double x, double) { return x < 0 ? 0 : x; });
  if (request.op == "relu.backward")
    return build(
        ReluBackward{}, true,
        [](const void* a, const void* b, void* y) {
          return ReluBackwardArgs{a, b, y};
        },
        [](double g, double y) { return y > 0 ? g : 0; });
  return build(
      Add{}, true,
      [](const void* a, const void* b, void* y) {
        return AddArgs{a, b, y};
      },
      [](double a, double b) { return a + b; });
}

}  // namespace custom_parts

std::string dims_text(const std::string& op) {
  if (op.rfind("fakequant.", 0) == 0) return "count=N | k=K,rs=RS,c=C[,of=PARENT][,per_row=1]";
  const std::string conv = "n=N,h=H,w=W,c=C,k=K,filter=R[,stride=1][,pad=R/2][,of=PARENT]";
  if (op.rfind("conv2d.", 0) == 0 || op == "int4.conv2d") return conv;
  if (op.rfind("convquant.", 0) == 0)
    return conv + "[,signed=1][,x_bits=B][,z=1][,residual=none|codes|values][,identity=none|codes|values]";
  if (op == "int4.quantize") return dims_text("fakequant.forward");
  if (op.rfind("normquant.", 0) == 0)
    return "n=N,hw=HW,c=C[,segments=1][,residual=none|codes|values|norm][,identity=none|codes|values]";
  if (op.rfind("maxpool.", 0) == 0) return "n=N,h=H,w=W,c=C,window=R,stride=S[,pad=0]";
  if (op.rfind("avgpool.", 0) == 0) return "n=N,h=H,w=W,c=C";
  if (op.rfind("linear.", 0) == 0) return "n=N,c=C,k=K[,of=PARENT]";
  for (const char* pass : {"statistics", "normalize", "reduce", "apply"})
    if (op == std::string("batchnorm.") + pass) return "n=N,hw=HW,c=C[,segments=1]";
  if (op.rfind("loss.", 0) == 0 || op == "softmax") return "n=N,k=CLASSES";
  for (const char* update : {"sgd", "moving_average", "squared_norm"})
    if (op == std::string("optimizer.") + update) return "count=N[,tensors=1]";
  if (op == "normalize") return "n=N,h=H,w=W[,c=3]";
  if (op == "resize") return "n=N,h=H,w=W,p=HEIGHT,q=WIDTH[,c=3][,antialias=0]";
  if (op == "add" || op.rfind("relu.", 0) == 0) return "count=N";
  return "";
}

std::unique_ptr<Instance> custom(const CustomRequest& request) {
  using namespace custom_parts;
  const auto family = [&](const char* prefix) { return request.op.rfind(prefix, 0) == 0; };
  if (dims_text(request.op).empty())
    throw std::invalid_argument("[" + request.op +
                                "] shapes of this operator are those of the catalog: name a case");
  if (family("fakequant.")) return fakequant(request);
  if (family("conv2d.")) return conv2d(request);
  if (family("linear.")) return linear(request);
  if (family("batchnorm.")) return batchnorm(request);
  if (family("normquant.")) return normquant(request);
  if (family("convquant.")) return convquant(request);
  if (family("int4.")) return int4(request);
  if (family("maxpool.") || family("avgpool.")) return pool(request);
  if (family("optimizer.")) return optimizer(request);
  if (family("normalize") || family("resize")) return image(request);
  if (family("loss.") || family("softmax")) return loss(request);
  return elementwise(request);
}

}  // namespace rtfq::kernels::catalog
