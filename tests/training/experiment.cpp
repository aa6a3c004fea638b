// Experiment files: what is refused and with which words, which runs they list, and tables beside numbers by
// hand.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/training/small_experiment.h"

using namespace rtfq;
using namespace rtfq::experiment;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

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
