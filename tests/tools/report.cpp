// `rtfq report` and what training writes for it.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "engine/safetensors.h"
#include "tests/support/markup.h"
#include "tests/support/skip.h"
#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::contents;
using test::count_of;
using test::Outcome;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

std::vector<json> lines(const std::string& path) {
  std::ifstream in(path);
  std::vector<json> out;
  for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
  return out;
}

/// Self-contained, without scripts, whole.
void require_page(const std::string& html) {
  test::require_well_formed(html);
  CHECK(html.find("<script") == html.npos);
  CHECK(html.find("src=\"http") == html.npos);
  CHECK(html.find("@import") == html.npos);
  CHECK(count_of(html, "</html>") == 1);
}

}  // namespace

TEST_CASE("report: a run and the source-only run beside it") {
  const Workplace place;
  const std::string run = place.at("run"), lower = place.at("lower");
  succeed(place, place.train("run", {"--set", "train.log_steps_every=2"}));
  succeed(place, place.train("lower", {"--set", "train.method=source_only"}));

  // What training left: roles in the log, step sizes, the session, a report without a look at the network.
  for (const json& entry : lines(run + "/log.jsonl")) {
    const json& roles = entry["roles"];
    CHECK(roles["largest"].contains("source"));
    CHECK(roles.contains("paired") == (entry["phase"] != "float"));
    CHECK(roles.contains("smallest") == (entry["phase"] != "float"));
    if (entry["phase"] == "adapt") {
      CHECK(roles["paired"].contains("joint"));
      CHECK(roles["largest"].contains("pseudo_label"));
      CHECK_FALSE(roles["smallest"].contains("pseudo_label"));
    }
  }
  std::vector<int64_t> logged;
  for (const json& entry : lines(run + "/quantizers.jsonl")) {
    logged.push_back(entry["step"]);
    CHECK(entry["weights"]["stage1.block0.conv1"]["4"].get<double>() > 0);
    CHECK(entry["activations"]["stem.output"]["8"].get<double>() > 0);
  }
  CHECK(logged == std::vector<int64_t>{4, 5, 6, 8, 9});  // phases begin after 3 and 5 steps
  CHECK(contents(lower + "/quantizers.jsonl").empty());
  const auto sessions = lines(run + "/sessions.jsonl");
  REQUIRE(sessions.size() == 2);
  CHECK(sessions[0]["source_images"] == 24);
  CHECK(sessions[0]["target_images"] == 24);
  CHECK(sessions[0]["threads"] == 1);
  CHECK_FALSE(sessions[0]["commit"].get<std::string>().empty());
  CHECK(sessions[1]["how"] == "finished");
  const std::string early = contents(run + "/report.html");
  require_page(early);
  CHECK_THAT(early, Contains("eval " + run + " --all") && Contains("Step sizes over time") &&
                        Contains("largest subnet") && !Contains("http-equiv"));

  succeed(place, {"eval", run, "--all"});
  succeed(place, {"eval", lower, "--all"});
  const std::string page = place.at("both.html");
  const Outcome reported = succeed(place, {"report", run, lower, "-o", page, "--images", "10"});
  CHECK(reported.out.empty());
  CHECK_THAT(reported.err, Contains("wrote " + page));
  const std::string html = contents(page);
  require_page(html);
  CHECK_THAT(html, Contains("Accuracy against BitOPs") && Contains("Pareto front") &&
                       Contains("source only, ") && Contains("w0.5-d1-r12-b4") &&
                       Contains("Codes in w1-d1-r12-b8") && Contains("stage3.block1.conv2"));
  CHECK_THAT(html, Contains("Configuration") && Contains("10 images of " + place.at("target")));
  CHECK(count_of(html, "data:image/png;base64,iVBOR") == 20);  // ten images of two runs, right or wrong
  CHECK(count_of(html, "<h3>run</h3>") >= 3);
  CHECK_THAT(html, !Contains("nan") && !Contains("inf\""));

  const Outcome nowhere = place.rtfq({"report", run, lower});
  CHECK(nowhere.status == 2);
  CHECK_THAT(nowhere.err, Contains("-o FILE.html"));
  const Outcome no_run = place.rtfq({"report", place.at("source")});
  CHECK(no_run.status == 2);
  CHECK_THAT(no_run.err, Contains("is not a run"));
  CHECK(place.rtfq({"report", place.at("absent")}).status == 2);
}

TEST_CASE("report: what is missing is said, and what is there is shown") {
  const Workplace place;
  const std::string run = place.at("run"), page = run + "/report.html";
  succeed(place, place.train("run", {"--set", "train.report_every=0"}));
  CHECK_FALSE(fs::exists(page));

  // Unlabelled images: how sure the network is.
  std::string list;
  for (int i = 0; i < 12; ++i) list += "target/1/" + std::to_string(i) + ".png\n";
  place.write("target.txt", list);
  succeed(place, {"report", run, "--data", place.at("target.txt"), "--subnet", "bits=4"});
  CHECK_THAT(contents(page),
             Contains("no labels") && Contains("Least sure") && Contains("Codes in w1-d1-r12-b4"));

  CHECK(place.rtfq({"report", run, "--subnet", "bits=5"}).status == 2);

  // The data are gone: first the target, then all.
  fs::rename(place.at("target"), place.at("moved"));
  const Outcome source = succeed(place, {"report", run});
  CHECK_THAT(source.err, Contains(place.at("target") + " is not there") && Contains("--data DIR"));
  CHECK_THAT(contents(page), Contains("images of " + place.at("source")));
  fs::rename(place.at("source"), place.at("moved too"));
  succeed(place, {"report", run});
  require_page(contents(page));
  CHECK_THAT(contents(page),
             Contains("nor is the source") && Contains("eval " + run + " --all") && !Contains("data:image"));

  // Logs as an older version wrote them, a line that is being written, and a damaged table.
  std::string log;
  for (json entry : lines(run + "/log.jsonl")) {
    entry.erase("roles");
    entry.erase("gradient_norm");
    log += entry.dump() + "\n";
  }
  place.write("run/log.jsonl", log + "{\"step\":10,\"pha");
  place.write("run/subnets.json", "[{]");
  fs::remove(run + "/quantizers.jsonl");
  fs::remove(run + "/sessions.jsonl");
  fs::resize_file(run + "/checkpoint.safetensors", fs::file_size(run + "/checkpoint.safetensors") / 2);
  CHECK_THAT(succeed(place, {"report", run}).err,
             Contains("no images") && Contains("checkpoint.safetensors"));
  fs::remove(run + "/checkpoint.safetensors");
  const Outcome bare = succeed(place, {"report", run});
  require_page(contents(page));
  CHECK_THAT(bare.err,
             Contains("no quantizers.jsonl") && Contains("no checkpoint") && Contains("subnets.json"));
  CHECK_THAT(contents(page),
             Contains("mean over all passes") && Contains("not recorded") && !Contains("Gradient norm"));
}

TEST_CASE("report: a quantizer whose codes are all equal is called dead") {
  const Workplace place;
  const std::string run = place.at("run");
  succeed(place, place.train("run"));
  // A step size so large that every weight becomes code 0.
  auto file = load_tensors(run + "/checkpoint.safetensors");
  for (auto& [name, tensor] : file.tensors)
    if (name == "student/stage2.block0.conv1.step.b4") tensor.as<float>()[0] = 1e6f;
  save_tensors(run + "/checkpoint.safetensors", file);
  const Outcome outcome = succeed(place, {"report", run, "--images", "8"});
  CHECK_THAT(outcome.err, Contains("warning") && Contains("dead quantizer: stage2.block0.conv1, weights") &&
                              Contains("at 4 bits"));
  CHECK(count_of(outcome.err, "dead quantizer: stage2.block0.conv1,") == 2);  // of the two 4-bit subnets
  CHECK_THAT(contents(run + "/report.html"),
             Contains("dead quantizer: stage2.block0.conv1") && Contains("1 of 16, dead"));
}

TEST_CASE("report: step sizes and events are whole after interruptions") {
  const Workplace place;
  const std::vector<std::string> settings{
      "--set", "train.steps=40",         "--set", "train.log_steps_every=3",
      "--set", "train.tensorboard=true", "--set", "train.checkpoint_every=7"};
  const auto with = [&](const std::string& run, std::vector<std::string> more) {
    more.insert(more.end(), settings.begin(), settings.end());
    return place.train(run, more);
  };
  succeed(place, with("whole", {}));
  const test::Process process(place.root, with("killed", {}));
  for (int i = 0;
       i < 6000 && contents(place.at("killed/log.jsonl")).find("\"step\":24,") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.signal(SIGKILL);
  CHECK(process.wait().status == 128 + SIGKILL);
  succeed(place, with("killed", {"--resume"}));
  CHECK(contents(place.at("killed/quantizers.jsonl")) == contents(place.at("whole/quantizers.jsonl")));
  CHECK(lines(place.at("killed/quantizers.jsonl")).size() > 10);
  const std::string events = "/tensorboard/events.out.tfevents.rtfq";
  CHECK(fs::file_size(place.at("killed") + events) == fs::file_size(place.at("whole") + events));
  const auto sessions = lines(place.at("killed/sessions.jsonl"));
  REQUIRE(sessions.size() == 3);  // the first was killed: no end
  CHECK(sessions[1]["event"] == "start");
  CHECK(sessions[1]["step"].get<int64_t>() % 7 == 0);
}

TEST_CASE("report: TensorBoard reads what training wrote") {
  const char* chosen = std::getenv("RTFQ_PEERS");
  const std::string peers = chosen ? chosen : RTFQ_SOURCE_DIR "/.deps/peers";
  if (!fs::exists(peers + "/bin/python")) return test::skip("tools/peers has not installed TensorBoard");
  const Workplace place;
  const std::vector<std::string> settings{"--set", "train.tensorboard=true"};
  succeed(place, place.train("run", settings));
  const std::string command = "'" + peers + "/bin/python' " RTFQ_SOURCE_DIR "/tests/tools/read_events.py '" +
                              place.at("run") + "' >'" + place.at("said") + "' 2>&1";
  const int status = std::system(command.c_str());
  INFO(contents(place.at("said")));
  CHECK(status == 0);
  CHECK_THAT(contents(place.at("said")), Contains("as in the log"));
}
