#include "training/trainer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/cancellation.h"
#include "tests/training/small_run.h"

using namespace rtfq;
using test::bits_of;
using test::small_config;
using test::Stripes;
namespace fs = std::filesystem;

TEST_CASE("trainer: learns, and the same seed gives the same bits") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.steps = 40;
  config.train.float_steps = 15;
  config.train.source_steps = 10;
  const auto run = [&] {
    Trainer trainer(config);
    std::vector<std::string> phases;
    double accuracy = 0;
    while (!trainer.finished()) {
      const StepReport report = trainer.train_step();
      if (phases.empty() || phases.back() != report.phase) phases.push_back(report.phase);
      CHECK(std::isfinite(report.loss));
      accuracy = report.source_accuracy;
    }
    CHECK(phases == std::vector<std::string>{"float", "source", "adapt"});
    CHECK(accuracy >= 87.5);
    trainer.calibrate();
    const auto target = data::open_dataset(config.data.target),
               source = data::open_dataset(config.data.source);
    const auto scores = evaluate(trainer.student(), config, config.model.bank.subnets(), &target, &source);
    CHECK(scores.size() == 8);
    double mean = 0;
    for (const SubnetScore& score : scores) {
      INFO(id(score.subnet));
      CHECK(score.source_accuracy.value() >= 60);  // chance is 50
      mean += score.source_accuracy.value() / 8;
      CHECK(score.accuracy.has_value());
    }
    CHECK(mean >= 75);
    return bits_of(trainer, stripes);
  };
  CHECK(run() == run());
}

TEST_CASE("trainer: a resumed run has the bits of an uninterrupted one, wherever it stopped") {
  const Stripes stripes;
  const Config config = small_config(stripes);
  Trainer whole(config);
  while (!whole.finished()) whole.train_step();
  const std::string expected = bits_of(whole, stripes), path = stripes.at("run.safetensors");
  for (int64_t stop : {1, 3, 6, 9}) {
    {
      Trainer first(config);
      while (first.step() < stop) first.train_step();
      first.save(path);
    }
    const auto second = Trainer::resume(path);
    CHECK(second->step() == stop);
    while (!second->finished()) second->train_step();
    CHECK(bits_of(*second, stripes) == expected);
  }
}

TEST_CASE("trainer: two networks have parameters, one has gradients and momentum") {
  const auto held = [](const std::string& name) {
    for (const auto& [who, bytes] : memory::holders({}))
      if (name == who) return bytes;
    return std::size_t{0};
  };
  const auto parameters = held("parameters"), gradients = held("gradients"), momentum = held("momentum");
  const Stripes stripes(8);
  Trainer trainer(small_config(stripes));
  std::size_t values = 0;  // blocks are rounded up
  for (const Parameter* p : trainer.student().parameters())
    values += static_cast<std::size_t>(p->value.count()) * sizeof(float);
  CHECK(held("gradients") - gradients >= values);
  CHECK(held("gradients") - gradients == held("momentum") - momentum);
  CHECK(held("parameters") - parameters >= 2 * values);
}

TEST_CASE("trainer: the target's labels change no bit") {
  const Stripes stripes;
  const auto list = [&](const char* name, bool swapped) {
    std::ofstream out(stripes.at(name));
    for (int label = 0; label < 2; ++label)
      for (int i = 0; i < 40; ++i)
        out << "target/" << label << "/" << i << ".png " << (swapped ? (i * 7 + label) % 2 : label) << "\n";
    return stripes.at(name);
  };
  Config config = small_config(stripes);
  const auto run = [&](const std::string& target) {
    config.data.target = target;
    Trainer trainer(config);
    while (!trainer.finished()) trainer.train_step();
    trainer.calibrate();
    return bits_of(trainer, stripes);
  };
  const std::string right = run(list("right.txt", false)), wrong = run(list("wrong.txt", true));
  CHECK(right == wrong);
}

TEST_CASE("trainer: a loss that is not finite stops with step, term and subnet, and changes nothing") {
  const Stripes stripes;
  Trainer trainer(small_config(stripes));
  trainer.train_step();
  for (Parameter* p : trainer.student().parameters())
    if (p->name == "classifier.weight") p->value.as<float>()[0] = NAN;
  trainer.student().weights_changed();
  const std::string before = bits_of(trainer, stripes);
  CHECK_THROWS_AS(trainer.train_step(), NonFiniteLoss);
  CHECK_THROWS_WITH(
      trainer.train_step(),
      Catch::Contains("step 2: the source loss of w1-d1-r12-b32 is not finite") &&
          Catch::Contains("the first layer whose output is not finite is classifier, and neither is "
                          "its parameter classifier.weight"));
  for (Parameter* p : trainer.student().parameters())
    if (p->name.starts_with("stage2.block") && p->name.ends_with("conv1.weight"))
      p->value.as<float>()[0] = INFINITY;
  trainer.student().weights_changed();
  CHECK_THROWS_WITH(trainer.train_step(), Catch::Contains("is stage2."));
}

TEST_CASE("trainer: a step that is left in the middle has changed nothing") {
  const Stripes stripes;
  const auto file = [&](int64_t step) { return stripes.at(std::to_string(step) + ".safetensors"); };
  // Steps 0, 3 and 6 begin a phase; each first step after a start may take any time and so may be left. The
  // first phase has one pass in a step, and so fewer operations.
  const std::vector<std::pair<int64_t, int>> leaves{{0, 0}, {0, 60}, {3, 7}, {3, 150}, {6, 400}};
  Trainer whole(small_config(stripes));
  while (!whole.finished()) {
    whole.save(file(whole.step()));
    whole.train_step();
  }
  const std::string expected = bits_of(whole, stripes);
  static int left;  // operations until somebody wants to leave
  set_cancellation([] { return --left < 0; });
  for (const auto& [step, operations] : leaves) {
    INFO("left step " << step << " after " << operations << " operations");
    const auto trainer = Trainer::resume(file(step));
    left = operations;
    CHECK_THROWS_AS(trainer->train_step(), Cancelled);
    left = 1 << 30;
    CHECK(trainer->step() == step);
    while (!trainer->finished()) trainer->train_step();
    CHECK(bits_of(*trainer, stripes) == expected);
  }
  set_cancellation(nullptr);
}

TEST_CASE("trainer: a slower rate is kept by checkpoints, and a loss above the limit has diverged") {
  const Stripes stripes;
  Config config = small_config(stripes);
  Trainer trainer(config);
  const double fast = trainer.train_step().learning_rate;
  CHECK(trainer.slow_down() == 0.5);
  const std::string path = stripes.at("run.safetensors");
  trainer.save(path);
  const auto resumed = Trainer::resume(path);
  CHECK(resumed->rate_factor() == 0.5);
  CHECK(resumed->train_step().learning_rate < 0.51 * fast);
  config.train.max_loss = 1e-3;
  CHECK_THROWS_WITH(Trainer(config).train_step(), Catch::Contains("above train.max_loss"));
}

TEST_CASE("trainer: source_only trains one float network without a target") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.method = "source_only";
  config.data.target.clear();
  Trainer trainer(config);
  while (!trainer.finished()) CHECK(trainer.train_step().phase == "float");
  trainer.calibrate();
  const auto target = data::open_dataset(stripes.at("target"));
  const Subnet largest{1.0, 1.0, 12, float_bits};
  CHECK(evaluate(trainer.student(), config, std::span(&largest, 1), &target, nullptr)
            .front()
            .accuracy.has_value());
}

TEST_CASE("trainer: samplers, shared norms and other ensembles train") {
  const Stripes stripes;
  for (const char* sampler : {"sandwich", "uniform"})
    for (const char* ensemble : {"all", "largest"}) {
      Config config = small_config(stripes);
      config.train.sampler = sampler;
      config.loss.ensemble = ensemble;
      config.model.domain_norms = std::string(ensemble) == "all";
      config.train.steps = 8;
      Trainer trainer(config);
      while (!trainer.finished()) CHECK(std::isfinite(trainer.train_step().loss));
      CHECK_NOTHROW(trainer.calibrate());
    }
}

TEST_CASE("trainer: checkpoints that do not fit are refused") {
  const Stripes stripes;
  const Config config = small_config(stripes);
  Trainer trainer(config);
  const std::string path = stripes.at("run.safetensors");
  trainer.save(path);
  CHECK(load_bank(path).step == 0);
  Config other = config;
  for (const char* domain : {"source", "target"})
    fs::rename(stripes.root / domain / "1", stripes.root / domain / "one");
  CHECK_THROWS_WITH(Trainer::resume(path, &other), Catch::Contains("trained on other classes"));
  CHECK_THROWS_WITH(load_bank(stripes.at("none.safetensors")), Catch::Contains("cannot read"));
  Config unlabelled = config;
  unlabelled.data.source = stripes.at("source/0");
  CHECK_THROWS_WITH(Trainer(unlabelled), Catch::Contains("must have labels"));
}
