// What runs and subnets cost: tables, multiply-adds of training and times of runs to come, beside numbers by
// hand.
#include <catch2/catch.hpp>

#include "tests/training/small_experiment.h"

using namespace rtfq;
using namespace rtfq::experiment;
using Catch::Matchers::Contains;

TEST_CASE("experiment: reductions and costs, by hand") {
  const Files files;
  const Experiment experiment = files.read(
      file(R"("groups": {"alone": {"methods": ["large", "small"]}},
              "tables": {"r": {"kind": "reduction", "methods": ["first"]},
                         "c": {"kind": "cost", "methods": ["first"], "tasks": ["a"], "alone": "alone"}})",
           R"("first": {"train.steps": 100, "train.float_steps": 1, "train.source_steps": 1, )" + bank +
               R"(}, "large": {"train.steps": 50, "train.float_steps": 1, "train.source_steps": 1, )" + bank +
               R"(}, "small": {"train.steps": 70, "train.float_steps": 1, "train.source_steps": 1, )" + bank +
               "}"));
  RunResult all = finished(experiment, "a", "first", 1, {90, 88, 80, 70});
  all.record.step_seconds = 20;
  all.train_macs = 4e6;
  RunResult large = finished(experiment, "a", "large", 1, {90, 0, 0, 0});
  large.scores.resize(1);
  large.record.step_seconds = 10;
  large.train_macs = 1e6;
  RunResult small = finished(experiment, "a", "small", 1, {0, 0, 0, 70});
  small.scores.erase(small.scores.begin(), small.scores.begin() + 3);
  small.record.step_seconds = 3;
  small.train_macs = 3e5;
  const Results results(experiment, {all, large, small});

  const Table reduction = make_table(experiment.tables[0], results);
  REQUIRE(reduction.rows.size() == 5);
  CHECK(reduction.rows[0][1].text == "4.00 KB");
  CHECK(reduction.rows[1][0].text == "w0.5-d1-r32-b4");
  CHECK(reduction.rows[1][2].text == "10.0x");                 // 4,000 / 400 bytes
  CHECK(*reduction.rows[1][4].value == Approx(1000.0 / 300));  // MACs
  CHECK(*reduction.rows[1][6].value == Approx(1024000.0 / 4800));
  CHECK_THAT(reduction.note, Contains("2.40 KB"));  // 2 * (800 + 400)

  // Seconds 10 at 1,000 MACs and 3 at 300: 0.01 a MAC, so 2 * (10 + 3) for the four; MACs likewise.
  const Table cost = make_table(experiment.tables[1], results);
  REQUIRE(cost.rows.size() == 5);
  CHECK_THAT(cost.rows[3][0].text, Contains("extrapolated from 2"));
  CHECK(*cost.rows[3][2].value == Approx(4 * 60));
  CHECK(*cost.rows[3][3].value == Approx(26));
  CHECK(*cost.rows[3][4].value == Approx(2.6e6));
  CHECK(*cost.rows[4][3].value == Approx(1.3));
  CHECK(cost.rows[4][4].text == "0.7x");
}

TEST_CASE("experiment: multiply-adds of training, by hand") {
  const Files files;
  const auto config = [&](const std::string& settings) {
    const std::string methods = R"("m": {"train.batch": 10, )" + settings + bank + "}";
    return list_runs(files.read(file("", methods)), {"out", {}, {}})[0].config;
  };
  const auto macs = [&](const Config& c, double width) {
    SupernetOptions options;
    options.arch = c.model.arch;
    options.image_channels = c.data.channels;
    options.bank = c.model.bank;
    return static_cast<double>(subnet_cost(options, {width, 1, 32, 8}).macs);
  };
  const std::string phases = R"("train.steps": 9, "train.float_steps": 4, "train.source_steps": 2, )";
  const std::string single = phases + R"("train.sampler": "fixed", "train.subnet": "width=0.5", )";
  const Config alone =
      config(single + R"("loss.pseudo_source": "own", "loss.information_prior": "uniform", )");
  // 6 steps of 10 images, 3 steps of 20; its own labels and equal shares need no teacher.
  CHECK(training_macs(alone, 10) == Approx(3 * (6 * 10 + 3 * 20) * macs(alone, 0.5)));
  const Config taught = config(single + R"("loss.pseudo_source": "teacher", )");
  CHECK(training_macs(taught, 10) == Approx((3 * (6 * 10 + 3 * 20) + 3 * 10) * macs(taught, 0.5)));
  const Config source = config(phases + R"("train.method": "source_only", )");
  CHECK(training_macs(source, 10) == Approx(3 * 9 * 10 * macs(source, 1)));
  // Two passes, largest and smallest; the teacher's largest is asked once.
  const Config two = config(phases + R"("train.passes": 2, "loss.ensemble": "largest", )");
  const double both = macs(two, 1) + macs(two, 0.5);
  CHECK(training_macs(two, 10) ==
        Approx(3 * 4 * 10 * macs(two, 1) + 3 * 2 * 10 * both + 3 * (3 * 20 * both + 10 * macs(two, 1))));
}

TEST_CASE("experiment: the time of a run, from the speed of others") {
  const Files files;
  const Experiment experiment = files.read(
      file("", R"("one": {"train.steps": 100, "train.float_steps": 10, "train.source_steps": 10, )" + bank +
                   R"(}, "long": {"train.steps": 300, )" + bank + "}"));
  const auto done = [&](const std::string& method, double train_seconds) {
    RunResult result = finished(experiment, "a", method, 1, {90, 88, 80, 70});
    result.record.classes = 10;
    result.record.train_seconds = train_seconds;
    result.record.eval_seconds = 2;
    result.train_macs = training_macs(result.run.config, 10);
    return result;
  };
  RunResult wanted = finished(experiment, "b", "long", 2, {});
  CHECK_FALSE(estimated_seconds(experiment, wanted, {wanted}));
  const RunResult one = done("one", 8), same = done("long", 58);
  const double more = training_macs(wanted.run.config, 10) / one.train_macs;
  CHECK(*estimated_seconds(experiment, wanted, {one, wanted}) == Approx(10 * more));
  const double seed = training_macs(wanted.run.config, 10) / same.train_macs;  // its passes are others
  CHECK(*estimated_seconds(experiment, wanted, {one, same, wanted}) == Approx(60 * seed));
  const Speed speed{.mac_seconds = 1e-9, .subnet_seconds = 0.5, .classes = 10};
  CHECK(*estimated_seconds(experiment, wanted, {wanted}, speed) ==
        Approx(1e-9 * training_macs(wanted.run.config, 10) + 4 * 0.5));
  CHECK(*estimated_seconds(experiment, wanted, {one, wanted}, speed) == Approx(10 * more));
  wanted.progress = {State::started, 75, {}, ""};
  CHECK(*estimated_seconds(experiment, wanted, {one, same, wanted}) == Approx(60 * seed * 0.75));
}
