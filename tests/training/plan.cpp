// What a plan foretells, against what a run does.
#include "training/plan.h"

#include <catch2/catch.hpp>

#include "tests/support/stripes.h"
#include "training/network.h"
#include "training/phases.h"
#include "training/trainer.h"

using namespace rtfq;

namespace {

Config config_of(const test::Stripes& stripes, const std::vector<std::string>& settings) {
  std::vector<std::string> all{
      "data.source=" + stripes.at("source"),
      "data.target=" + stripes.at("target"),
      "data.channels=1",
      "data.mean=[0.5]",
      "data.deviation=[0.5]",
      "data.threads=1",
      "model.arch=resnet14_small",
      R"(bank={"widths": [1, 0.5], "resolutions": [24, 16], "bits": [8, 4], "multiple": 8})",
      "train.steps=9",
      "train.float_steps=2",
      "train.source_steps=3",
      "train.calibration_images=16",
      "optimizer.clip_norm=1",
      "threads=1"};
  all.insert(all.end(), settings.begin(), settings.end());
  return parse_config("{}", "test", all);
}

double ratio(std::size_t a, std::size_t b) {
  return static_cast<double>(a) / static_cast<double>(b);
}

}  // namespace

TEST_CASE("plan: phases, images, epochs and multiply-adds") {
  const test::Stripes stripes(20);  // 40 images of each domain
  const Config config = config_of(stripes, {"train.batch=8"});
  const TrainingPlan plan = plan_training(config, {.timed = false});
  REQUIRE(plan.phases.size() == 3);
  CHECK(plan.phases[0].name == "float");
  CHECK(plan.phases[1].name == "source");
  CHECK(plan.phases[2].name == "adapt");
  CHECK(plan.phases[0].steps == 2);
  CHECK(plan.phases[1].steps == 3);
  CHECK(plan.phases[2].steps == 4);
  CHECK(plan.steps == 9);
  CHECK(plan.images == 5 * 8 + 4 * 16);
  CHECK(plan.phases[2].source_epochs == Approx(4 * 8 / 40.0));
  CHECK(plan.phases[2].target_epochs == Approx(4 * 8 / 40.0));
  CHECK(plan.phases[1].target_epochs == 0);
  CHECK(plan.calibrated == 8);
  CHECK(plan.calibration_domains == 2);
  CHECK(plan.seconds == 0);

  const auto macs = [&](Subnet subnet) {
    return static_cast<double>(subnet_cost(supernet_options(config, 2), subnet).macs);
  };
  const Bank& bank = config.model.bank;
  CHECK(plan.phases[0].macs == 3 * 8 * macs(bank.largest()));
  // The mean over exactly the steps of the run.
  double source = 0, adapt = 0;
  for (int64_t step = 2; step < 9; ++step) {
    const auto passes = passes_at(config, step);
    double rows = 0;
    for (const PassPlan& pass : passes) rows += macs(pass.subnet);
    if (step < 5) {
      source += 3 * 8 * rows / 3;
      continue;
    }
    // The teacher: the largest, and this step's random architecture where it is another.
    Subnet random = passes[1].subnet;
    random.bits = 8;
    const double teacher = macs(bank.largest()) + (random == bank.largest() ? 0 : macs(random));
    adapt += (3 * 16 * rows + 8 * teacher) / 4;
  }
  CHECK(plan.phases[1].macs == Approx(source));
  CHECK(plan.phases[2].macs == Approx(adapt));
}

TEST_CASE("plan: memory within a tenth of a real run's peak") {
  const test::Stripes stripes(20);
  for (const std::string settings : {"train.batch=32", "train.batch=44", "train.teacher_view=plain"}) {
    // At 16 images a step the calibration's batches are the peak.
    const Config config = config_of(stripes, {settings});
    const std::size_t predicted = plan_training(config, {.timed = false}).peak_bytes;
    const std::size_t before = memory::statistics({}).in_use;
    memory::reset_peak({});
    Trainer trainer(config);
    while (!trainer.finished()) trainer.train_step();
    trainer.calibrate();
    const std::size_t peak = memory::statistics({}).peak - before;
    INFO(settings << ": predicted " << predicted << ", real " << peak);
    CHECK(ratio(predicted, peak) > 0.9);
    CHECK(ratio(predicted, peak) < 1.1);
  }
}

TEST_CASE("plan: memory of training steps alone within a tenth") {
  const test::Stripes stripes(20);
  for (const std::string settings : {"train.batch=160", "train.batch=128"}) {
    const Config config = config_of(stripes, {settings, "train.steps=3", "train.float_steps=1",
                                              "train.source_steps=1", "loss.ensemble=all"});
    const std::size_t predicted = plan_training(config, {.timed = false}).peak_bytes;
    const std::size_t before = memory::statistics({}).in_use;
    memory::reset_peak({});
    Trainer trainer(config);
    while (!trainer.finished()) trainer.train_step();
    const std::size_t peak = memory::statistics({}).peak - before;
    INFO(settings << ": predicted " << predicted << ", real " << peak);
    CHECK(ratio(predicted, peak) > 0.9);
    CHECK(ratio(predicted, peak) < 1.1);
  }
}

TEST_CASE("plan: times add up, and single networks have plans too") {
  const test::Stripes stripes(20);
  const Config config = config_of(stripes, {"train.batch=4"});
  std::vector<std::string> said;
  const TrainingPlan plan = plan_training(config, {}, [&](const std::string& what) { said.push_back(what); });
  CHECK(said.size() >= 5);
  double seconds = plan.calibration_seconds;
  CHECK(plan.calibration_seconds > 0);
  for (const PhasePlan& phase : plan.phases) {
    CHECK(phase.timed_steps >= 1);
    CHECK(phase.step_seconds > 0);
    CHECK(phase.load_seconds > 0);
    CHECK(phase.seconds >= phase.step_seconds * static_cast<double>(phase.steps));
    seconds += phase.seconds;
  }
  CHECK(plan.seconds == Approx(seconds));
  CHECK_FALSE(plan.scaled);

  for (const char* method : {"source_only", "mcc"}) {
    const TrainingPlan single = plan_training(config_of(stripes, {std::string("train.method=") + method}));
    CHECK(single.calibrated == 1);
    CHECK(single.phases.size() == (method[0] == 's' ? 1 : 2));
    CHECK(single.phases[0].name == "float");
    CHECK(single.seconds > 0);
  }
}

TEST_CASE("plan: what training would refuse") {
  const test::Stripes stripes(2);
  CHECK_THROWS_AS(plan_training(config_of(stripes, {"data.target="})), std::invalid_argument);
  CHECK_THROWS_WITH(plan_training(config_of(stripes, {"data.source=/nowhere"})), Catch::Contains("/nowhere"));
  CHECK_THROWS_WITH(plan_training(config_of(stripes, {"train.passes=1"})),
                    Catch::Contains("at least 2 passes"));
}
