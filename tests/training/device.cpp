// The trainer on the executor of CUDA kernels, whose memory the host cannot reach: what runs here has no
// hidden access to a GPU's memory. And beside the CPU: the same steps to rounding.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "engine/ops/used.h"
#include "kernels/operator.h"
#include "kernels/simt/executor.h"
#include "tests/training/small_run.h"
#include "training/network.h"

using namespace rtfq;
using test::bits_of;
using test::Stripes;

namespace {

/// simt with memory that only kernels, copies and fills can touch.
struct GuardedDevice {
  simt::ScopedOptions scope;
  Device device{Backend::simt, 0};
  GuardedDevice() {
    memory::release_cached(device);
    simt::options().guard = true;
  }
  ~GuardedDevice() { memory::release_cached(device); }
};

/// Few steps of each phase, small enough for the executor.
Config tiny(const Stripes& stripes, const std::string& device, const std::string& precision) {
  Config config = test::small_config(stripes);
  config.device = device;
  config.precision = precision;
  config.train.batch = 4;
  config.train.steps = 6;
  config.train.float_steps = config.train.source_steps = 2;
  config.train.calibration_images = 8;
  config.data.threads = 1;
  return config;
}

/// All losses and all that the trainer averages over steps.
void want_everything(Config& config) {
  config.loss.confusion = 0.1;
  config.loss.pseudo_label = 0.3;
  config.loss.pseudo_threshold = 0.5;
  config.loss.pseudo_source = "teacher";
  config.loss.information = 0.5;
  config.loss.information_average = 0.5;
  config.loss.information_prior = "teacher";
  config.train.teacher_view = "plain";
}

std::map<std::string, std::vector<float>> values_of(const Supernet& network) {
  std::map<std::string, std::vector<float>> all;
  for (const Parameter* p : network.parameters()) all[p->name] = p->value.to_vector();
  for (const auto& [name, buffer] : network.buffers()) all[name] = buffer.to_vector();
  return all;
}

/// |a - b| / |b| over all values together.
double relative_difference(const Supernet& a, const Supernet& b) {
  const auto mine = values_of(a), theirs = values_of(b);
  REQUIRE(mine.size() == theirs.size());
  double difference = 0, norm = 0;
  for (const auto& [name, values] : mine) {
    const auto& other = theirs.at(name);
    REQUIRE(values.size() == other.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double d = static_cast<double>(values[i]) - static_cast<double>(other[i]);
      difference += d * d;
      norm += static_cast<double>(other[i]) * static_cast<double>(other[i]);
    }
  }
  return std::sqrt(difference / norm);
}

}  // namespace

TEST_CASE("device: training, calibration and evaluation never touch the device's memory") {
  const GuardedDevice guarded;
  const Stripes stripes(8);
  const auto target = data::open_dataset(stripes.at("target"));
  for (const std::string precision : {"f32", "tf32", "bf16", "int8"}) {
    INFO(precision);
    Config config = tiny(stripes, "simt", precision);
    config.model.arch = "resnet18_w8";  // every kind of layer
    config.train.steps = 3;
    config.train.float_steps = config.train.source_steps = 1;
    want_everything(config);
    Trainer trainer(config);
    while (!trainer.finished()) {
      const StepReport report = trainer.train_step();
      CHECK(std::isfinite(report.loss));
      CHECK(report.gradient_norm > 0);
      CHECK(report.terms.size() >= (report.phase == "adapt" ? 5 : 1));
    }
    const std::vector<Subnet> subnets{config.model.bank.largest(), config.model.bank.smallest()};
    if (precision == "int8")  // batches of calibration are large for the executor
      calibrate(trainer.student(), config, std::span(subnets).last(1), Domain::target, target, 8);
    trainer.save(stripes.at("run.safetensors"));
    const auto scores = evaluate(trainer.student(), config, subnets, &target, nullptr);
    CHECK(scores.front().accuracy.has_value());
    CHECK(scores.back().accuracy.has_value());
  }
}

TEST_CASE("device: a resumed run on simt has the bits of an uninterrupted one, and its file serves the CPU") {
  const Stripes stripes(8);
  const simt::ScopedOptions scope;
  Config config = tiny(stripes, "simt", "int8");
  config.model.bank.resolutions = {8};
  config.train.batch = 2;
  config.train.steps = 3;
  config.train.float_steps = 0;
  config.train.source_steps = 1;
  const std::string path = stripes.at("run.safetensors");
  Trainer whole(config);
  while (whole.step() < 2) whole.train_step();
  whole.save(path);
  whole.train_step();
  simt::options().seed = 12345;  // another order of threads
  const auto second = Trainer::resume(path);
  CHECK(second->config().device == "simt");
  second->train_step();
  CHECK(bits_of(*second, stripes) == bits_of(whole, stripes));

  second->save(path);
  const TrainedBank bank = load_bank(path);
  CHECK(bank.network->device() == Device{});
  CHECK(relative_difference(*bank.network, second->student()) == 0);
  const auto target = data::open_dataset(stripes.at("target"));
  const Subnet largest = config.model.bank.largest();
  const auto here = evaluate(*bank.network, bank.config, std::span(&largest, 1), &target, nullptr),
             there = evaluate(second->student(), config, std::span(&largest, 1), &target, nullptr);
  CHECK(std::abs(here.front().entropy.value() - there.front().entropy.value()) < 0.05);
}

TEST_CASE("device: passes as graphs give the same bits, and the host still touches nothing") {
  const GuardedDevice guarded;
  const Stripes stripes(8);
  Config config = tiny(stripes, "simt", "int8");
  config.model.bank.widths = {1.0, 0.5};
  config.model.bank.resolutions = {8};
  config.model.bank.bits = {8, 4};
  config.train.batch = 2;
  config.train.steps = 5;
  config.train.float_steps = 0;
  config.train.source_steps = 1;
  config.loss.ramp_steps = 0;
  want_everything(config);
  // Of SandwichQ's passes the smallest comes in every step of adaptation: once as always, then as a graph;
  // the largest is one a step later, as in its first step there is no average yet. mcc has one pass a step
  // and no average.
  for (const auto& [method, launches] : {std::pair{"rtfq", 3 + 2}, std::pair{"mcc", 3}}) {
    INFO(method);
    config.train.method = method;
    config.graphs = false;
    Trainer plain(config);
    while (!plain.finished()) plain.train_step();
    config.graphs = true;
    Trainer trainer(config);
    while (!trainer.finished()) trainer.train_step();
    CHECK(trainer.graph_launches() >= launches);
    CHECK(values_of(trainer.student()) == values_of(plain.student()));
  }
}

TEST_CASE(
    "device: without quantizers the steps of a run equal the CPU's to 1e-5, in tf32 to what it rounds") {
  const Stripes stripes(8);
  const auto run = [&](const char* device, const char* precision) {
    Config config = tiny(stripes, device, precision);
    config.model.bank.bits = {float_bits};
    config.train.batch = 8;
    config.train.steps = 2;
    config.train.float_steps = 1;
    config.train.source_steps = 0;
    want_everything(config);
    auto trainer = std::make_unique<Trainer>(config);
    std::vector<double> losses;
    while (!trainer->finished()) losses.push_back(trainer->train_step().loss);
    return std::pair{std::move(trainer), losses};
  };
  const auto [cpu, losses] = run("cpu", "f32");
  const auto [simt, others] = run("simt", "f32");
  for (std::size_t i = 0; i < losses.size(); ++i) CHECK(others[i] == Approx(losses[i]).epsilon(1e-5));
  CHECK(relative_difference(simt->student(), cpu->student()) < 1e-5);

  CHECK(relative_difference(run("cpu", "tf32").first->student(), cpu->student()) == 0);
  const auto [rounded, near] = run("simt", "tf32");
  // Only the first step's loss: later ones hang on thresholds, and on norms over four values a channel.
  CHECK(near.front() == Approx(losses.front()).epsilon(0x1p-9));
  const double difference = relative_difference(rounded->student(), cpu->student());
  CHECK(difference > 0x1p-16);
  CHECK(difference < 0x1p-9);
}

TEST_CASE("device: quantized steps stay beside the CPU's, and losses within noise") {
  const Stripes stripes(8);
  const auto run = [&](const char* device) {
    // In bf16 and int8 what a processor stores between operations depends on it: compared is f32.
    auto trainer = std::make_unique<Trainer>(tiny(stripes, device, "f32"));
    double loss = 0;
    while (!trainer->finished()) loss = trainer->train_step().loss;
    return std::pair{std::move(trainer), loss};
  };
  const auto [cpu, loss] = run("cpu");
  const auto [simt, other] = run("simt");
  // A reassociated sum may flip a code, which changes gradients downstream; without one the difference is
  // 7e-9.
  CHECK(relative_difference(simt->student(), cpu->student()) < 0.005);
  CHECK(other == Approx(loss).epsilon(0.01));
}

TEST_CASE("device: statistics that come with the convolutions train as those that norms read") {
  const Stripes stripes(8);
  const simt::ScopedOptions scope;
  const auto run = [&] {
    Config config = tiny(stripes, "simt", "int8");
    config.model.bank.resolutions = {8};
    config.train.batch = 2;
    config.train.steps = 2;
    config.train.float_steps = 0;
    config.train.source_steps = 1;
    auto trainer = std::make_unique<Trainer>(config);
    double loss = 0;
    while (!trainer->finished()) loss = trainer->train_step().loss;
    return std::pair{std::move(trainer), loss};
  };
  const auto [together, loss] = run();
  const auto used = ops::used_implementations(Backend::simt);
  for (const char* expected :
       {"convstatistics.forward: mma_codes", "convstatistics.forward: mma_codes_folded"}) {
    INFO(expected);
    CHECK(std::find(used.begin(), used.end(), expected) != used.end());
  }
  kernels::prefer("convstatistics.forward", "one_by_one");
  const auto [apart, other] = run();
  kernels::prefer("convstatistics.forward", "");
  // Sums in another order may flip a code here and there.
  CHECK(relative_difference(together->student(), apart->student()) < 0.005);
  CHECK(loss == Approx(other).epsilon(0.01));
}

TEST_CASE("device: one that is not there says what is missing") {
  if (kernels::runtime::available({Backend::cuda, 0})) return;
  const Stripes stripes(2);
  CHECK_THROWS_WITH(Trainer(tiny(stripes, "cuda", "f32")), Catch::Contains("use device cpu"));
}
