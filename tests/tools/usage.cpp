// The command line: help, exit statuses and what errors say, without any training.
#include <catch2/catch.hpp>

#include "kernels/runtime/device.h"
#include "tests/support/skip.h"
#include "tests/tools/command.h"
#include "training/config.h"
#include "training/config_schema.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using test::Outcome;
using test::Workplace;

namespace {

const std::vector<std::string> commands{"train",   "config",  "eval",       "select", "calibrate", "info",
                                        "measure", "predict", "experiment", "import", "forward",   "export",
                                        "pack",    "infer"};

/// Bad usage: status 2, a message that holds `message` on stderr, nothing on stdout.
void refused(const Workplace& place, const std::vector<std::string>& arguments, const std::string& message) {
  const Outcome outcome = place.rtfq(arguments);
  std::string line;
  for (const std::string& argument : arguments) line += argument + " ";
  INFO(line << "-> " << outcome.status << "\n" << outcome.err);
  CHECK(outcome.status == 2);
  CHECK(outcome.out.empty());
  CHECK_THAT(outcome.err, Contains(message));
}

}  // namespace

TEST_CASE("usage: help names every command and teaches each with an example") {
  const Workplace place;
  const Outcome help = place.rtfq({"--help"});
  CHECK(help.status == 0);
  CHECK(help.err.empty());
  for (const std::string& command : commands) {
    CHECK_THAT(help.out, Contains("\n  " + command + " "));
    const Outcome outcome = place.rtfq({command, "--help"});
    INFO(command);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, Contains("Example") && Contains("\n  rtfq " + command + " "));
  }
  CHECK_THAT(place.rtfq({"--version"}).out, Contains("rtfq 0."));
}

TEST_CASE("usage: mistakes end with status 2 and say what was expected") {
  const Workplace place;
  refused(place, {}, "subcommand is required");
  refused(place, {"trian"},
          "no command 'trian': expected one of train, config, eval, measure, select, predict, calibrate");
  refused(place, {"--verbose"}, "rtfq --help");
  refused(place, {"train"}, "name a configuration");
  refused(place, {"train", place.at("small.jsonc")}, "--out is required; `rtfq train --help`");
  refused(place, {"train", "nope.jsonc", "--out", place.at("run")}, "presets are glyphs, mnist-usps");
  refused(place, {"eval"}, "run is required");
  refused(place, {"eval", place.at("nowhere")}, "there is no " + place.at("nowhere"));
  refused(place, {"eval", place.at("source")}, "is not a run");
  refused(place, {"eval", place.at("source"), "--all", "--subnet", "bits=8"}, "excludes");
  refused(place, {"select", place.at("source")}, "give a limit, such as --bitops 100M, or --pareto");
  refused(place, {"select", place.at("source"), "--macs", "10X"}, "10M or 2.5G, got '10X'");
  refused(place, {"calibrate", place.at("source")}, "--data is required");
  refused(place, {"info"}, "either RUN");
  refused(place, {"info", place.at("source"), "--preset", "glyphs"}, "either RUN");
  refused(place, {"info", "--preset", "glyph"}, "presets are glyphs");
}

TEST_CASE("usage: configurations are checked before anything is written") {
  const Workplace place;
  const auto set = [&](const std::string& setting) { return place.train("run", {"--set", setting}); };
  refused(place, set("train.step=5"), "did you mean 'train.steps'?");
  refused(place, set("train.steps=many"), "expects an integer");
  refused(place, set("train.steps=4"), "sum to more");
  refused(place, set("precision=f33"), "\"f32\", \"tf32\", \"bf16\" or \"int8\"");
  refused(place, set("device=gpu"), "\"cpu\", \"cuda\" or \"simt\"");
  refused(place, set("data.source="), "data.source is empty");
  refused(place, set("data.target="), "data.target is empty");
  refused(place, set("bank={\"widths\": [1, 0.99], \"resolutions\": [12], \"bits\": [8], \"multiple\": 8}"),
          "same");
  const Outcome absent = place.rtfq(set("data.source=/no/such/folder"));
  CHECK(absent.status == 1);
  CHECK_THAT(absent.err, Contains("/no/such/folder"));
  CHECK_FALSE(std::filesystem::exists(place.at("run") + "/config.jsonc"));
  if (!kernels::runtime::available({kernels::Backend::cuda, 0})) {
    const Outcome without = place.rtfq(set("device=cuda"));
    CHECK(without.status == 1);
    CHECK_THAT(without.err, Contains("[cuda]") && Contains("use device cpu"));
    CHECK_FALSE(std::filesystem::exists(place.at("run") + "/config.jsonc"));
  }
  // Nothing of the above stands in the way of a run in the same folder.
  CHECK(place.rtfq(set("train.steps=5")).status == 0);
}

TEST_CASE("usage: config prints what it was given, complete") {
  const Workplace place;
  const Outcome printed = place.rtfq({"config", place.at("small.jsonc"), "--set", "train.seed=77"});
  CHECK(printed.status == 0);
  const Config expected = read_config(place.at("small.jsonc"), {"train.seed=77"});
  CHECK(schema::differing_keys(parse_config(printed.out, "printed"), expected).empty());
  CHECK(expected.train.seed == 77);

  CHECK(schema::differing_keys(parse_config(place.rtfq({"config"}).out, "printed"), parse_config("{}", ""))
            .empty());
  const Outcome list = place.rtfq({"config", "--list"});
  CHECK(list.status == 0);
  for (const std::string& name : preset_names()) {
    CHECK_THAT(list.out, Contains(name));
    const Outcome preset = place.rtfq({"config", name});
    CHECK(preset.status == 0);
    CHECK(schema::differing_keys(parse_config(preset.out, name), parse_config(preset_text(name), name))
              .empty());
  }
}

TEST_CASE("usage: info on presets shows channels that shrink with the width") {
  const Workplace place;
  const Outcome info = place.rtfq({"info", "--preset", "mnist-usps"});
  CHECK(info.status == 0);
  CHECK_THAT(info.out,
             Contains("2 x 128") && Contains("2 x 64") && Contains("48 subnets") && Contains("697K"));
  const Outcome more =
      place.rtfq({"info", "--preset", "office31", "--classes", "31", "--set", "bank=anyda48"});
  CHECK(more.status == 0);
  CHECK_THAT(more.out, Contains("6 x 256-1024") && Contains("3 x 224-928") && Contains("31 classes"));
}

TEST_CASE("usage: a processor without AVX2 gets a message") {
  if (std::system("command -v qemu-x86_64 >/dev/null 2>&1") != 0)
    return test::skip("no qemu-x86_64 (Debian: qemu-user) to imitate an old processor");
  const Workplace place;
  const auto on = [&](const std::string& processor) {
    const std::string command = "qemu-x86_64 -cpu " + processor + " " RTFQ_BINARY " --version >" +
                                place.at("out") + " 2>" + place.at("err");
    return WEXITSTATUS(std::system(command.c_str()));
  };
  CHECK(on("Nehalem") == 1);
  CHECK_THAT(test::contents(place.at("err")), Contains("this processor is too old: it lacks AVX AVX2"));
  CHECK(on("Haswell") == 0);
  CHECK_THAT(test::contents(place.at("out")), Contains("rtfq 0."));
}
