// How far a run is, from what its folder holds.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/json.h"
#include "engine/safetensors.h"
#include "training/evaluation.h"
#include "training/experiment_runs.h"
#include "training/run_folder.h"

namespace rtfq::experiment {
namespace fs = std::filesystem;
namespace {

/// subnets.json has an accuracy for every subnet that is wanted, on the images that are wanted as far as
/// known.
bool evaluated(const Experiment& experiment, const Run& run, const Record& record) {
  if (!record.evaluation.empty() && record.evaluation != evaluation_name(experiment)) return false;
  const RunPaths paths{run.folder};
  if (!fs::exists(paths.subnets())) return false;
  const std::vector<SubnetScore> scores = read_scores(paths.subnets());
  const std::vector<Subnet> wanted = evaluated_subnets(experiment, run);
  return std::all_of(wanted.begin(), wanted.end(), [&](const Subnet& subnet) {
    return std::any_of(scores.begin(), scores.end(), [&](const SubnetScore& score) {
      return score.subnet == subnet &&
             (experiment.evaluation.metric == "class_mean" ? score.class_accuracy : score.accuracy)
                 .has_value();
    });
  });
}

bool newer(const std::string& a, const std::string& b) {
  return fs::last_write_time(a) >= fs::last_write_time(b);
}

/// What the folder itself says.
RunProgress look(const Experiment& experiment, const Run& run, const Record& record,
                 const std::vector<Run>& all) {
  const RunPaths paths{run.folder};
  if (!fs::exists(paths.config())) return {};
  const Config stored = read_config(paths.config());
  if (const auto differing = differing_settings(stored, run.config); !differing.empty())
    return {State::differs, 0, differing, ""};
  if (run.parent >= 0) {
    const Run& origin = all[static_cast<std::size_t>(run.parent)];
    const std::string trained = read_record(origin.record()).environment["trained"];
    // Made from a run that is no longer there or was trained again: as if it were not there.
    if (inspect(experiment, origin, all).state != State::finished) return {};
    if (!record.parent.empty() && !trained.empty() && record.parent != trained) return {};
  }
  const bool checkpoint = fs::exists(paths.checkpoint());
  if (!checkpoint) {  // weights may be thrown away once everything is measured
    if (record.state == "finished" && evaluated(experiment, run, record))
      return {State::finished, run.config.train.steps, {}, ""};
    return {State::started, 0, {}, ""};
  }
  std::map<std::string, std::string> metadata;
  try {
    metadata = load_metadata(paths.checkpoint());
  } catch (const std::runtime_error&) {  // damaged: `rtfq train --resume` falls back to the one before
    return {State::started, 0, {}, ""};
  }
  const std::string step = metadata["step"];
  const int64_t steps =
      std::all_of(step.begin(), step.end(), [](unsigned char c) { return std::isdigit(c); }) && !step.empty()
          ? std::stoll(step)
          : 0;
  if (metadata["finished"] != "true") return {State::started, steps, {}, ""};
  if (record.state != "training" && evaluated(experiment, run, record) &&
      (record.state == "finished" || newer(paths.subnets(), paths.checkpoint())))
    return {State::finished, steps, {}, ""};
  const bool calibrated = record.state == "trained" || record.state == "finished";
  return {calibrated ? State::trained : State::started, steps, {}, ""};
}

}  // namespace

const char* to_string(State state) {
  switch (state) {
    case State::missing:
      return "missing";
    case State::started:
      return "started";
    case State::trained:
      return "trained";
    case State::finished:
      return "finished";
    case State::differs:
      return "differs";
    case State::failed:
      return "failed";
  }
  return "";
}

RunProgress inspect(const Experiment& experiment, const Run& run, const std::vector<Run>& all) {
  const Record record = read_record(run.record());
  RunProgress progress;
  try {
    progress = look(experiment, run, record, all);
  } catch (const std::exception& error) {
    return {State::failed, 0, {}, error.what()};
  }
  if (record.state == "failed" && (progress.state == State::missing || progress.state == State::started)) {
    progress.state = State::failed;
    for (const std::string& line : record.error)
      progress.error += (progress.error.empty() ? "" : "\n") + line;
  }
  return progress;
}

Record read_record(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const Json json = parse_json(text.str());
  Record record;
  if (!json.is_object()) return record;
  try {
    record.state = json.value("state", "");
    record.classes = json.value("classes", int64_t{0});
    record.evaluation = json.value("evaluation", "");
    record.step_seconds = json.value("step_seconds", 0.0);
    record.train_seconds = json.value("train_seconds", 0.0);
    record.eval_seconds = json.value("eval_seconds", 0.0);
    record.exit_status = json.value("exit_status", 0);
    record.parent = json.value("quantized_from", "");
    const Json empty = Json::array();
    for (const auto& [key, lines] : {std::pair{"commands", &record.commands}, {"error", &record.error}})
      for (const Json& line : json.contains(key) ? json.at(key) : empty)
        lines->push_back(line.get<std::string>());
    if (json.contains("environment"))
      for (const auto& [key, value] : json.at("environment").items())
        record.environment[key] = value.get<std::string>();
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  return record;
}

void write_record(const std::string& path, const Record& record) {
  Json json{{"state", record.state},
            {"classes", record.classes},
            {"evaluation", record.evaluation},
            {"step_seconds", record.step_seconds},
            {"train_seconds", record.train_seconds},
            {"eval_seconds", record.eval_seconds},
            {"exit_status", record.exit_status},
            {"commands", record.commands},
            {"environment", record.environment}};
  if (!record.parent.empty()) json["quantized_from"] = record.parent;
  if (!record.error.empty()) json["error"] = record.error;
  write_file_atomically(path, print_json(json, 1) + "\n");
}

}  // namespace rtfq::experiment
