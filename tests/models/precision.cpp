// Computing on integer codes and storing in bf16, against fake-quantized f32 values.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "models/supernet.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;
using test::relative_l2;

namespace {

struct Form {
  const char* name;
  bool integer;
  DType storage;
};
constexpr Form values_f32{"values, f32", false, DType::f32}, codes_f32{"codes, f32", true, DType::f32},
    values_bf16{"values, bf16", false, DType::bf16}, codes_bf16{"codes, bf16", true, DType::bf16};

struct Variant {
  const char* arch;
  Residual residual;
  bool per_channel;
  int first_last_bits;
};

SupernetOptions options_of(const Variant& v, const Form& form) {
  SupernetOptions options;
  options.arch = v.arch;
  options.classes = 5;
  options.image_channels = 3;
  options.bank = {{1.0, 0.5}, {1.0, 0.5}, {32}, {8, 6, 4}, 8};
  if (std::string(v.arch) == "resnet18") options.bank.widths = {1.0, 0.25};
  options.residual = v.residual;
  options.per_channel_weights = v.per_channel;
  options.first_last_bits = v.first_last_bits;
  options.integer = form.integer;
  options.storage = form.storage;
  return options;
}

struct Outcome {
  std::vector<float> logits;
  std::map<std::string, std::vector<float>> gradients;
  std::map<std::string, std::vector<float>> codes;  ///< of every quantizer, as floats
};

constexpr int64_t batch = 16;

/// A recorded pass on two domains, with gradients of every parameter. Steps come from a first pass in f32, so
/// that all forms start from the same network.
Outcome pass(const Variant& v, const Form& form, const Subnet& subnet, float noise = 0) {
  Supernet start(options_of(v, values_f32), 1), net(options_of(v, form), 1);
  const Tensor images = normal({batch, 32, 32, 3}, 2);
  const BatchPart parts[] = {{Domain::source, batch / 2}, {Domain::target, batch}};
  {
    Tape tape(true);
    start.forward(tape, subnet, images, parts, NormMode::train);
  }
  net.copy_parameters(start);
  Random random(3, Purpose::test);
  for (Parameter* p : net.parameters())
    for (int64_t i = 0; p->kind == ParameterKind::norm && i < p->value.count(); ++i)
      p->value.as<float>()[i] *= 1 + noise * random.normal();
  Outcome out;
  for (Quantizer* quantizer : net.quantizers())
    quantizer->observe([&out](const Quantizer& q, const Tensor& x, int bits) {
      const auto& step = q.step(bits).value;
      const Tensor used = step.count() == 1 ? step : step.leading(0, x.dim(0));
      const auto bounds = q.bounds(bits);
      const Tensor codes = QTensor::quantize(x, used, q.used_bits(bits), bounds.qn > 0).codes;
      auto& all = out.codes[q.name()];
      for (int64_t i = 0; i < codes.count(); ++i)
        all.push_back(bounds.qn ? codes.as<int8_t>()[i] : codes.as<uint8_t>()[i]);
    });
  Tape tape(true);
  const Variable logits = net.forward(tape, subnet, images, parts, NormMode::train);
  tape.backward(logits, normal(logits.data.dims(), 99));
  out.logits = logits.data.to_vector();
  for (const Parameter* p : net.parameters()) out.gradients[p->name] = p->gradient.to_vector();
  return out;
}

double norm_of(const std::vector<float>& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

/// |a - b| / |b| over the gradients of all parameters together.
double gradient_error(const Outcome& a, const Outcome& b) {
  double error = 0, norm = 0;
  for (const auto& [name, values] : b.gradients) {
    const double size = norm_of(values);
    error += std::pow(relative_l2(a.gradients.at(name), values) * size, 2);
    norm += size * size;
  }
  return std::sqrt(error / norm);
}

/// The share of codes, of all quantizers together, that differ.
double flip_rate(const Outcome& a, const Outcome& b) {
  double flips = 0, all = 0;
  for (const auto& [name, codes] : b.codes) {
    const auto& other = a.codes.at(name);
    REQUIRE(other.size() == codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) flips += codes[i] != other[i];
    all += static_cast<double>(codes.size());
  }
  return flips / all;
}

const Variant variants[] = {
    {"resnet14_small", Residual::eight_bits, false, 8}, {"resnet14_small", Residual::codes, false, 8},
    {"resnet14_small", Residual::keep_float, false, 0}, {"resnet14_small", Residual::eight_bits, true, 8},
    {"resnet18", Residual::eight_bits, false, 8},       {"resnet18", Residual::keep_float, true, 8}};

}  // namespace

// Rounding decides the codes of values near a tie, and a flipped code changes everything behind it. Where
// none flips the two are equal to rounding; where some do, the change is of the size that a rounding of the
// images causes.
TEST_CASE("precision: a pass on codes is the pass on fake-quantized values") {
  double logits = 0, gradients = 0, usual_logits = 0, usual_gradients = 0, flips = 0;
  int cases = 0, equal = 0;
  for (const Variant& v : variants)
    for (const int bits : {8, 4}) {
      INFO(v.arch << " residual " << static_cast<int>(v.residual) << " bits " << bits);
      const Subnet subnet{options_of(v, values_f32).bank.widths.back(), 1.0, 32, bits};
      const Outcome expected = pass(v, values_f32, subnet), found = pass(v, codes_f32, subnet),
                    rounded = pass(v, values_f32, subnet, 3e-7f);
      const double error = relative_l2(found.logits, expected.logits);
      logits += error;
      gradients += gradient_error(found, expected);
      flips += flip_rate(found, expected);
      usual_logits += relative_l2(rounded.logits, expected.logits);
      usual_gradients += gradient_error(rounded, expected);
      ++cases;
      if (error < 1e-6) ++equal;
      for (const auto& [name, values] : expected.gradients)
        CHECK((norm_of(values) > 0) == (norm_of(found.gradients.at(name)) > 0));
    }
  INFO("flips " << flips / cases << ", summed errors: logits " << logits << ", gradients " << gradients
                << "; of rounded norms: " << usual_logits << ", " << usual_gradients);
  CHECK(equal >= cases / 3);
  CHECK(flips / cases < 5e-3);
  CHECK(logits < 2 * usual_logits);
  CHECK(gradients < 2 * usual_gradients);
}

TEST_CASE("precision: storing in bf16 changes a pass as rounding to bf16 does") {
  const Variant v = variants[0];
  for (const int bits : {8, 4, float_bits}) {
    INFO("bits " << bits);
    const Subnet subnet{1.0, 1.0, 32, bits};
    const Outcome expected = pass(v, values_f32, subnet), rounded = pass(v, values_f32, subnet, 0x1p-8f);
    for (const Form& form : {values_bf16, codes_bf16}) {
      INFO(form.name);
      const Outcome found = pass(v, form, subnet);
      const double logits = relative_l2(found.logits, expected.logits);
      CHECK(logits > 0);  // it is another computation
      CHECK(logits < 1.5 * relative_l2(rounded.logits, expected.logits));
      CHECK(gradient_error(found, expected) < 1.5 * gradient_error(rounded, expected));
      if (bits != float_bits) CHECK(flip_rate(found, expected) < 1.5 * flip_rate(rounded, expected));
    }
  }
}

TEST_CASE("precision: evaluation on codes keeps its packed weights and gives what a recorded pass gives") {
  const Variant v = variants[4];
  Supernet net(options_of(v, codes_f32), 1);
  const Subnet subnet{0.25, 1.0, 32, 6};
  const Tensor images = normal({batch, 32, 32, 3}, 2);
  const BatchPart part{Domain::source, batch};
  Tape tape(true), quiet(false);
  const auto recorded =
      net.forward(tape, subnet, images, std::span(&part, 1), NormMode::calibrate).data.to_vector();
  // The batch's statistics are the stored ones now.
  for (int i = 0; i < 2; ++i) {
    const auto stored =
        net.forward(quiet, subnet, images, std::span(&part, 1), NormMode::stored).data.to_vector();
    CHECK(relative_l2(stored, recorded) < 1e-3);
  }
}
