#include "models/supernet.h"

#include <catch2/catch.hpp>

#include "tests/support/numeric.h"

using namespace rtfq;
using test::dot;
using test::normal;
using test::relative_l2;
using test::unit;

namespace {

SupernetOptions small_options(std::vector<int> bits = {8, 6, 4}) {
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.classes = 5;
  options.image_channels = 1;
  options.bank = {{1.0, 0.75, 0.5}, {1.0, 0.5}, {16, 12}, std::move(bits), 8};
  return options;
}

Variable forward(Supernet& net, Tape& tape, const Subnet& subnet, const Tensor& images, NormMode mode,
                 Domain domain = Domain::source) {
  const BatchPart part{domain, images.dim(0)};
  return net.forward(tape, subnet, images, std::span(&part, 1), mode);
}

/// One recorded pass with a fixed gradient of the logits.
std::vector<float> train_pass(Supernet& net, const Subnet& subnet, const Tensor& images) {
  Tape tape(true);
  const Variable logits = forward(net, tape, subnet, images, NormMode::train);
  tape.backward(logits, normal(logits.data.dims(), 99));
  return logits.data.to_vector();
}

}  // namespace

TEST_CASE("supernet: a narrow, shallow subnet neither reads nor changes what it does not use") {
  Supernet net(small_options(), 1);
  const Tensor images = normal({4, 16, 16, 1}, 2);
  const Subnet narrow{0.5, 0.5, 16, 4};
  const auto logits = train_pass(net, narrow, images);
  // Gradients outside the leading channels, and of blocks beyond the depth, are zero.
  int checked_weights = 0;
  for (const Parameter* p : net.parameters()) {
    if (p->kind != ParameterKind::weight || p->name == "classifier.weight") continue;
    const bool dropped = p->name.find("block1") != std::string::npos;
    CHECK(p->touched == !dropped);
    const int64_t k = p->value.dim(0), rs = p->value.dim(1) * p->value.dim(2), c = p->value.dim(3);
    const int64_t ka = scaled_channels(k, 0.5, 8), ca = c == 1 ? 1 : scaled_channels(c, 0.5, 8);
    double inside = 0, outside = 0;
    for (int64_t i = 0; i < p->value.count(); ++i) {
      const bool in = i / (rs * c) < ka && i % c < ca;
      (in ? inside : outside) += std::abs(p->gradient.as<float>()[i]);
    }
    CHECK(outside == 0);
    CHECK((inside > 0) == !dropped);
    ++checked_weights;
    // Poison what is outside: the result must not notice.
    for (int64_t i = 0; i < p->value.count(); ++i)
      if (dropped || i / (rs * c) >= ka || i % c >= ca) p->value.as<float>()[i] = NAN;
  }
  CHECK(checked_weights > 8);
  CHECK(train_pass(net, narrow, images) == logits);
}

TEST_CASE("supernet: float gradients agree with central differences") {
  Supernet net(small_options(), 3);
  const Tensor images = normal({4, 16, 16, 1}, 4), g = normal({4, 5}, 5);
  const Subnet subnet{0.75, 0.5, 16, float_bits};
  Tape tape(true);
  const Variable logits = forward(net, tape, subnet, images, NormMode::batch);
  tape.backward(logits, g.clone());
  int compared = 0;
  for (Parameter* p : net.parameters()) {
    if (!p->touched) continue;
    const Tensor direction = unit(normal(p->value.dims(), 6)), original = p->value.clone();
    const auto loss = [&](double h) {
      for (int64_t i = 0; i < original.count(); ++i)
        p->value.as<float>()[i] = original.as<float>()[i] + static_cast<float>(h) * direction.as<float>()[i];
      net.weights_changed();
      Tape dry(false);
      return dot(forward(net, dry, subnet, images, NormMode::batch).data, g);
    };
    constexpr double h = 1e-4;  // the first layers bend strongly
    const double numeric = (loss(h) - loss(-h)) / (2 * h), analytic = dot(p->gradient, direction);
    p->value.copy_from(original);
    INFO(p->name << ": numeric " << numeric << ", analytic " << analytic);
    CHECK(std::abs(numeric - analytic) <= 0.03 * std::abs(numeric) + 0.02);
    ++compared;
  }
  CHECK(compared > 20);
}

TEST_CASE("supernet: more bits come closer to full precision") {
  Supernet net(small_options({8, 6, 4, 3}), 7);
  const Tensor images = normal({8, 16, 16, 1}, 8);
  Subnet subnet{1.0, 1.0, 16, float_bits};
  Tape dry(false);
  const auto exact = forward(net, dry, subnet, images, NormMode::batch).data.to_vector();
  double last = 0;
  for (int bits : {8, 6, 4, 3}) {
    subnet.bits = bits;
    const double error = relative_l2(train_pass(net, subnet, images), exact);
    INFO(bits << " bits: " << error);
    CHECK(error > last);
    last = error;
    if (bits == 8) CHECK(error < 0.25);  // with LSQ's initial steps, before any training
  }
}

TEST_CASE("supernet: residual variants, first and last bits, per-channel and symmetric weights all train") {
  const Tensor images = normal({4, 16, 16, 1}, 9);
  for (Residual residual : {Residual::keep_float, Residual::eight_bits, Residual::codes})
    for (int ends : {0, 8})
      for (bool per_channel : {false, true}) {
        SupernetOptions options = small_options();
        options.residual = residual;
        options.first_last_bits = ends;
        options.per_channel_weights = options.symmetric_weights = per_channel;
        Supernet net(options, 10);
        for (float logit : train_pass(net, {0.75, 1.0, 12, 4}, normal({4, 12, 12, 1}, 11)))
          CHECK(std::isfinite(logit));
        for (float logit : train_pass(net, {1.0, 1.0, 16, 8}, images)) CHECK(std::isfinite(logit));
        double steps = 0;
        for (const Parameter* p : net.parameters())
          if (p->kind == ParameterKind::step && p->touched)
            for (int64_t i = 0; i < p->gradient.count(); ++i) steps += std::abs(p->gradient.as<float>()[i]);
        CHECK(steps > 0);
      }
}

TEST_CASE("supernet: evaluation keeps prepared weights only while they are the same") {
  Supernet net(small_options(), 12);
  const Tensor images = normal({4, 16, 16, 1}, 13);
  const Subnet largest = net.options().bank.largest();
  train_pass(net, largest, images);
  const auto evaluate = [&] {
    Tape dry(false);
    return forward(net, dry, largest, images, NormMode::stored).data.to_vector();
  };
  const auto before = evaluate();
  CHECK(evaluate() == before);
  for (Parameter* p : net.parameters())
    if (p->name == "stage2.block0.conv1.weight")
      for (int64_t i = 0; i < p->value.count(); ++i) p->value.as<float>()[i] *= -1;
  net.weights_changed();
  CHECK(evaluate() != before);
}

TEST_CASE("supernet: what cannot be is refused with the reason") {
  Supernet net(small_options(), 14);
  Tape dry(false);
  CHECK_THROWS_WITH(forward(net, dry, {1.0, 1.0, 16, 8}, normal({1, 12, 12, 1}, 15), NormMode::batch),
                    Catch::Contains("expects images [n,16,16,1], got [1,12,12,1]"));
  CHECK_THROWS_WITH(forward(net, dry, {1.0, 1.0, 16, 8}, normal({1, 16, 16, 1}, 15), NormMode::batch),
                    Catch::Contains("no 8-bit step size yet"));
  train_pass(net, {1.0, 1.0, 16, 8}, normal({4, 16, 16, 1}, 16));
  CHECK_THROWS_WITH(forward(net, dry, {1.0, 1.0, 12, 8}, normal({1, 12, 12, 1}, 15), NormMode::stored),
                    Catch::Contains("calibrate it first"));
  SupernetOptions options = small_options();
  options.arch = "resnet19";
  CHECK_THROWS_WITH(Supernet(options, 1),
                    Catch::Contains("unknown arch 'resnet19': expected one of resnet18"));
}

TEST_CASE("supernet: costs") {
  SupernetOptions options;
  options.arch = "resnet50";
  options.classes = 1000;
  options.bank = bank_preset("rtfq48");
  const Supernet net(options, 1);
  const SubnetCost full = net.cost({1.0, 1.0, 224, float_bits}), eight = net.cost({1.0, 1.0, 224, 8}),
                   four = net.cost({1.0, 1.0, 224, 4}), narrow = net.cost({0.85, 1.0, 128, 4});
  CHECK(full.params == 25557032);
  CHECK(full.macs == 4089184256);
  CHECK(full.bitops == 1024 * full.macs);
  CHECK(eight.bitops == 64 * eight.macs);  // everything at 8 bits
  CHECK(full.bytes == 4 * full.params);
  CHECK(eight.bytes < full.bytes / 3.9);
  CHECK(four.bytes < full.bytes / 6.5);
  CHECK(four.bitops > 16 * four.macs);  // the ends stay at 8 bits
  CHECK(four.bitops < 18 * four.macs);
  CHECK(narrow.macs < full.macs / 3);
  CHECK(narrow.params < full.params);
}
