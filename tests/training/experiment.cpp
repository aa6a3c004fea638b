// Experiment files: what is refused and with which words, which runs they list, and tables beside numbers by
// hand.
#include "training/experiment.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "training/experiment_tables.h"

using namespace rtfq;
using namespace rtfq::experiment;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// A folder for files, gone when the test ends.
class Files {
 public:
  Files() { fs::create_directories(folder_ / "shared"); }
  ~Files() { fs::remove_all(folder_); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  Experiment read(const std::string& text) const {
    write("x.jsonc", text);
    return read_experiment(at("x.jsonc"));
  }
  std::string refusal(const std::string& text) const {
    try {
      list_runs(read(text), {"out", {}, {}});
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "(accepted)";
  }

 private:
  fs::path folder_ = fs::temp_directory_path() / ("rtfq-experiment-" + std::to_string(::getpid()));
};

/// A whole file with `more` after its methods.
std::string file(const std::string& more,
                 const std::string& methods = R"("rtfq": {}, "float": {"bank.bits": [32]})") {
  return R"({"name": "x", "title": "t", "claim": "c", "base": "glyphs", "tasks": {"a": {}, "b": {}}, "methods": {)" +
         methods + R"(}, "seeds": [1, 2], )" + more + "}";
}

std::vector<std::string> ids(const std::vector<Run>& runs) {
  std::vector<std::string> out;
  for (const Run& run : runs) out.push_back(run.id());
  return out;
}

SubnetScore score(double width, int bits, double accuracy, int64_t macs) {
  const Subnet subnet{width, 1, 32, bits};
  return {.subnet = subnet,
          .cost = {.params = 10, .bytes = 100 * bits, .macs = macs, .bitops = macs * bits * bits},
          .accuracy = accuracy,
          .source_accuracy = {}};
}

/// A finished run of two widths at two bit-widths with accuracies large 8, large 4, small 8, small 4.
RunResult finished(const Experiment& experiment, const std::string& task, const std::string& method,
                   uint64_t seed, const std::vector<double>& accuracies) {
  for (const Run& run : list_runs(experiment, {"out", {}, {}})) {
    if (run.task != task || run.method != method || run.seed != seed) continue;
    RunResult result{.run = run, .progress = {}, .record = {}, .scores = {}, .full_precision = {}};
    if (accuracies.empty()) return result;
    result.progress.state = State::finished;
    result.scores = {score(1, 8, accuracies[0], 1000), score(1, 4, accuracies[1], 1000),
                     score(0.5, 8, accuracies[2], 300), score(0.5, 4, accuracies[3], 300)};
    result.full_precision = {.params = 10, .bytes = 4000, .macs = 1000, .bitops = 1024000};
    return result;
  }
  throw std::logic_error("no such run");
}

const std::string bank =
    R"("bank": {"widths": [1, 0.5], "resolutions": [32], "bits": [8, 4], "multiple": 8})";

/// Two methods, two tasks, two seeds; "b/second" lacks its second seed.
Results example(const Experiment& experiment) {
  return {
      experiment,
      {finished(experiment, "a", "first", 1, {90, 88, 80, 70}),
       finished(experiment, "a", "first", 2, {94, 86, 82, 74}),
       finished(experiment, "b", "first", 1, {60, 60, 60, 60}),
       finished(experiment, "b", "first", 2, {50, 50, 50, 50}),
       finished(experiment, "a", "second", 1, {95, 80, 70, 60}),
       finished(experiment, "a", "second", 2, {95, 80, 70, 60}),
       finished(experiment, "b", "second", 1, {70, 70, 70, 70}), finished(experiment, "b", "second", 2, {})}};
}

const std::string two_methods =
    R"("first": {)" + bank + R"(}, "second": {"title": "the, second", )" + bank + "}";

}  // namespace

TEST_CASE("experiment: errors name the file, the key and the nearest known one") {
  const Files files;
  CHECK(files.refusal(file("")) == "(accepted)");
  CHECK_THAT(files.refusal("{"), Contains("x.jsonc"));
  CHECK_THAT(files.refusal("{}"), Contains("x.jsonc") && Contains("lacks 'name'"));
  CHECK_THAT(files.refusal(file(R"("table": {})")),
             Contains("'table'") && Contains("did you mean 'tables'?"));
  CHECK_THAT(files.refusal(file("", R"("m": {"bank.bit": [8]})")),
             Contains("methods.m") && Contains("'bank.bit'") && Contains("did you mean 'bank.bits'?"));
  CHECK_THAT(files.refusal(file("", R"("m": {"bank.bits": [9]})")),
             Contains("method 'm' on task 'a'") && Contains("9"));
  CHECK_THAT(files.refusal(file("", R"("m": {"train.seed": 3})")), Contains("seeds of the experiment"));
  CHECK_THAT(files.refusal(file("", R"("m/n": {})")), Contains("letters, digits"));
  CHECK_THAT(files.refusal(file("", R"("m": {"quantize": "rtfk"}, "rtff": {"bank.bits": [32]})")),
             Contains("methods.m.quantize") && Contains("did you mean 'rtff'?"));
  CHECK_THAT(files.refusal(file(R"("runs": [{"methods": ["rtfg"]}])")), Contains("did you mean 'rtfq'?"));
  CHECK_THAT(files.refusal(file(R"("runs": [{"seed": [1]}])")), Contains("'seed'") && Contains("'seeds'"));
  CHECK_THAT(files.refusal(file(R"("tables": {"t": {"values": ["mean bit=4"]}})")),
             Contains("tables.t.values") && Contains("none of width, depth, resolution, bits"));
  CHECK_THAT(files.refusal(file(R"("tables": {"t": {"values": "fit bitops 0"}})")), Contains("above 0"));
  CHECK_THAT(files.refusal(file(R"("tables": {"t": {"kind": "reductions"}})")),
             Contains("accuracy, subnets, reduction"));
  CHECK_THAT(files.refusal(file(R"("tables": {"t": {"kind": "cost"}})")), Contains("lacks 'alone'"));
  CHECK_THAT(files.refusal(file(R"("plots": {"p": {"x": "time"}})")),
             Contains("plots.p.x") && Contains("bitops"));
  CHECK_THAT(files.refusal(file(R"("groups": {"rtfq": {"methods": ["float"]}})")), Contains("already"));
  CHECK_THAT(files.refusal(file(R"("seeds": [1, 1])")), Contains("appears twice"));
  CHECK_THAT(files.refusal(file(R"("include": "none.jsonc")")),
             Contains("none.jsonc") && Contains("cannot be read"));
  CHECK_THAT(files.refusal(file(R"("include": "x.jsonc")")), Contains("includes itself"));
}

TEST_CASE("experiment: included files are merged by name, the including file wins") {
  const Files files;
  files.write("shared/methods.jsonc", R"({"methods": {"one": {"bank.bits": [8]}, "two": {"bank.bits": [6]}},
                                          "set": {"train.steps": 5, "train.batch": 7}})");
  const Experiment experiment = files.read(file(
      R"("include": "shared/methods.jsonc", "set": {"train.steps": 900})", R"("two": {"bank.bits": [4]})"));
  REQUIRE(experiment.methods.size() == 2);
  CHECK(experiment.method("one").settings == Settings{"bank.bits=[8]"});
  CHECK(experiment.method("two").settings == Settings{"bank.bits=[4]"});
  const auto runs = list_runs(experiment, {"out", {}, {}});
  CHECK(runs[0].config.train.steps == 900);
  CHECK(runs[0].config.train.batch == 7);
  files.write("shared/wrong.jsonc", R"({"methods": {"one": {"bank.bit": [8]}}})");
  CHECK_THAT(files.refusal(file(R"("include": "shared/wrong.jsonc")")),
             Contains("shared/wrong.jsonc: methods.one"));
}

TEST_CASE("experiment: runs are listed once, in order, origins before what is made of them") {
  const Files files;
  const std::string methods = R"("ptq": {"quantize": "rtff"}, "rtff": {"bank.bits": [32]}, "rtfq": {})";
  CHECK(ids(list_runs(files.read(file("", methods)), {"out", {}, {}})) ==
        std::vector<std::string>{"a/rtff/seed1", "a/ptq/seed1", "a/rtfq/seed1", "b/rtff/seed1", "b/ptq/seed1",
                                 "b/rtfq/seed1", "a/rtff/seed2", "a/ptq/seed2", "a/rtfq/seed2",
                                 "b/rtff/seed2", "b/ptq/seed2", "b/rtfq/seed2"});
  const Experiment some = files.read(file(
      R"("runs": [{"methods": ["rtfq"], "tasks": ["b"], "seeds": [3]}, {"methods": ["rtff", "rtfq"], "seeds": [3]}])",
      methods));
  const auto runs = list_runs(some, {"out", {{"root", "/data"}}, {"train.batch=9"}});
  CHECK(ids(runs) ==
        std::vector<std::string>{"b/rtfq/seed3", "a/rtff/seed3", "a/rtfq/seed3", "b/rtff/seed3"});
  CHECK(runs[0].folder == "out/runs/b/rtfq/seed3");
  CHECK(runs[0].config.train.seed == 3);
  CHECK(runs[0].config.train.batch == 9);
  CHECK(runs[1].config.model.bank.bits == std::vector<int>{32});
  CHECK_THAT(files.refusal(file(R"("runs": [{"methods": ["ptq"], "seeds": [1]}])", methods)),
             Contains("a/ptq/seed1") && Contains("rtff") && Contains("add it to 'runs'"));
}

TEST_CASE("experiment: roots") {
  const Files files;
  const std::string text =
      R"({"name": "x", "title": "t", "claim": "c", "base": "glyphs", "methods": {"m": {}}, "seeds": [1],
          "tasks": {"a": {"data.source": "{root}/s", "data.target": "{other}/{root}"}}})";
  const Experiment experiment = files.read(text);
  CHECK(list_runs(experiment, {"out", {}, {}})[0].undefined == "root");
  CHECK(list_runs(experiment, {"out", {{"root", "/r"}}, {}})[0].undefined == "other");
  // What is put in is not looked at again.
  const auto runs = list_runs(experiment, {"out", {{"root", "/{other}"}, {"other", "o"}}, {}});
  CHECK(runs[0].undefined.empty());
  CHECK(runs[0].config.data.source == "/{other}/s");
  CHECK(runs[0].config.data.target == "o//{other}");
}

TEST_CASE("experiment: values of a run") {
  const Measured run{
      {score(1, 8, 90, 1000), score(1, 4, 88, 1000), score(0.5, 8, 80, 300), score(0.5, 4, 70, 300)},
      {{1, 0.5}, {1}, {32}, {8, 4}, 8},
      {.params = 10, .bytes = 4000, .macs = 1000, .bitops = 1024000}};
  const auto value = [&](const std::string& text) { return number(parse_value(text), run); };
  CHECK(value("largest") == 90);
  CHECK(value("smallest") == 70);
  CHECK(value("mean") == 82);
  CHECK(value("worst") == 70);
  CHECK(value("best") == 90);
  CHECK(value("mean bits=4") == 79);
  CHECK(value("worst width=1,bits=8") == 90);
  CHECK_FALSE(value("mean bits=6"));
  CHECK(value("width=0.5") == 80);
  CHECK(value("bits=4") == 88);
  CHECK_FALSE(value("bits=2"));
  // BitOPs: 64,000 and 16,000 of the large ones, 19,200 and 4,800 of the small ones; float has 1,024,000.
  CHECK(value("fit bitops 1") == 90);
  CHECK(value("fit bitops 1/16") == 90);
  CHECK(value("fit bitops 1/17") == 80);
  CHECK(value("fit bitops 19.1K") == 88);
  CHECK(value("fit bitops 4800") == 70);
  CHECK_FALSE(value("fit bitops 4799"));
  CHECK(value("fit macs 999") == 80);
  CHECK(value("fit bytes 0.1/1") == 88);  // 400 of 4,000: the large one of two

  Measured alone = run;  // one subnet is no mean, and not the largest of a bank that has a larger one
  alone.scores = {score(0.5, 4, 70, 300)};
  CHECK_FALSE(number(parse_value("mean"), alone));
  CHECK_FALSE(number(parse_value("largest"), alone));
  CHECK(number(parse_value("smallest"), alone) == 70);
}

TEST_CASE("experiment: an accuracy table's cells, by hand") {
  const Files files;
  const Experiment experiment = files.read(
      file(R"("tables": {"t": {"tasks": ["a", "b", "mean"], "values": ["largest", "mean bits=4"]}})",
           two_methods));
  const Results results = example(experiment);
  const Table table = make_table(experiment.tables[0], results);
  REQUIRE(table.rows.size() == 2);
  const auto text = [&](std::size_t row, std::size_t column) { return table.rows[row][column].text; };
  CHECK(table.head == std::vector<std::string>{"method", "a: largest", "a: mean bits=4", "b: largest",
                                               "b: mean bits=4", "mean over tasks: largest",
                                               "mean over tasks: mean bits=4"});
  CHECK(text(0, 1) == "92.00 ± 2.83 (2)");  // 90, 94: sd = 4 / sqrt 2
  CHECK(text(0, 2) == "79.50 ± 0.71 (2)");  // 79, 80
  CHECK(text(1, 1) == "95.00 ± 0.00 (2)");
  CHECK(text(1, 3) == "70.00 (1 of 2)");
  CHECK(text(0, 5) == "73.50 ± 2.12 (2)");  // (90 + 60) / 2 and (94 + 50) / 2
  CHECK(text(1, 5) == "82.50 (1 of 2)");    // seed 2 lacks a task
  CHECK_FALSE(table.rows[0][1].best);
  CHECK(table.rows[1][1].best);
  CHECK(table.rows[0][2].best);
  CHECK_THAT(markdown(table), Contains("| **95.00 ± 0.00 (2)** |") && Contains("| the, second |"));
  CHECK_THAT(csv(table), Contains("method,a: largest,a: largest sd,a: largest n") &&
                             Contains("first,92,2.828427125,2,79.5,") && Contains("\"the, second\",95,0,2"));
}

TEST_CASE("experiment: groups, absent numbers, missing runs") {
  const Files files;
  const std::string methods =
      R"("large": {"train.sampler": "fixed", "train.subnet": "bits=8", )" + bank +
      R"(}, "small": {"train.sampler": "fixed", "train.subnet": "width=0.5,bits=4", )" + bank +
      R"(}, "first": {)" + bank + "}";
  const Experiment experiment = files.read(file(
      R"("groups": {"both": {"methods": ["large", "small"]}}, "runs": [{"tasks": ["a"], "seeds": [1]}],
         "tables": {"t": {"methods": ["large", "small", "both", "first"], "tasks": ["a"], "values": ["largest", "smallest", "mean"]},
                    "s": {"kind": "subnets", "methods": ["both"], "tasks": ["a"], "subnets": "corners"}})",
      methods));
  std::vector<RunResult> runs{finished(experiment, "a", "large", 1, {90, 0, 0, 0}),
                              finished(experiment, "a", "small", 1, {0, 0, 0, 70}),
                              finished(experiment, "a", "first", 1, {})};
  runs[0].scores.resize(1);
  runs[1].scores.erase(runs[1].scores.begin(), runs[1].scores.begin() + 3);
  const Table table = make_table(experiment.tables[0], Results(experiment, runs));
  const auto texts = [&](std::size_t row) {
    return std::vector<std::string>{table.rows[row][1].text, table.rows[row][2].text,
                                    table.rows[row][3].text};
  };
  CHECK(texts(0) == std::vector<std::string>{"90.00 (1)", "n/a", "n/a"});
  CHECK(texts(1) == std::vector<std::string>{"n/a", "70.00 (1)", "n/a"});
  CHECK(texts(2) == std::vector<std::string>{"90.00 (1)", "70.00 (1)", "80.00 (1)"});
  CHECK(texts(3) == std::vector<std::string>{"- (0 of 1)", "- (0 of 1)", "- (0 of 1)"});
  const Table subnets = make_table(experiment.tables[1], Results(experiment, runs));
  REQUIRE(subnets.rows.size() == 2);
  CHECK(subnets.rows[0][0].text == "w0.5-d1-r32-b4");
  CHECK(subnets.rows[1][4].text == "90.00 (1)");
}

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

TEST_CASE("experiment: the files that ship can be listed") {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(RTFQ_SOURCE_DIR "/training/experiments")) {
    if (entry.path().extension() != ".jsonc") continue;
    INFO(entry.path());
    const Experiment experiment = read_experiment(entry.path());
    CHECK(experiment.name == entry.path().stem());
    const auto runs = list_runs(experiment, {"out", {{"root", "data"}}, {}});
    CHECK(runs.size() >= 2);
    CHECK_FALSE(experiment.tables.empty());
    for (const Run& run : runs) CHECK(run.undefined.empty());
    // Tables and plots can be made before anything has run.
    std::vector<RunResult> none;
    for (const Run& run : runs)
      none.push_back({.run = run, .progress = {}, .record = {}, .scores = {}, .full_precision = {}});
    const Results results(experiment, none);
    for (const TableSpec& table : experiment.tables) CHECK_NOTHROW(markdown(make_table(table, results)));
    for (const PlotSpec& spec : experiment.plots) CHECK_THAT(plot(spec, results), Contains("<svg"));
    ++count;
  }
  CHECK(count == 4);
}
