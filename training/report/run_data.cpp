#include "training/report/run_data.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/json.h"

namespace rtfq::report {
namespace fs = std::filesystem;
namespace {

double number(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>()
                                                   : std::numeric_limits<double>::quiet_NaN();
}
int64_t integer(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}
std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}
Terms terms_of(const Json& json) {
  Terms out;
  if (json.is_object())
    for (const auto& [name, value] : json.items())
      if (value.is_number()) out[name] = value.get<double>();
  return out;
}
const Json& member(const Json& json, const char* key) {
  static const Json none;
  const auto found = json.find(key);
  return found == json.end() ? none : *found;
}

/// Calls `visit` with every line that is an object; one that is being written is passed over.
template <class Visit>
void each_line(const std::string& path, const Visit& visit) {
  std::ifstream in(path, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const Json json = parse_json(line);
    if (json.is_object()) visit(json);
  }
}

std::vector<LoggedStep> read_log(const std::string& path) {
  std::vector<LoggedStep> out;
  each_line(path, [&](const Json& json) {
    LoggedStep entry;
    entry.step = integer(json, "step");
    entry.phase = text(json, "phase");
    entry.loss = number(json, "loss");
    entry.source_accuracy = number(json, "source_accuracy");
    entry.gradient_norm = number(json, "gradient_norm");
    entry.learning_rate = number(json, "learning_rate");
    entry.seconds = number(json, "seconds");
    entry.wait_seconds = number(json, "wait_seconds");
    entry.images = number(json, "images");
    entry.terms = terms_of(member(json, "terms"));
    const Json& roles = member(json, "roles");
    if (roles.is_object())
      for (const auto& [role, terms] : roles.items()) entry.roles[role] = terms_of(terms);
    out.push_back(std::move(entry));
  });
  return out;
}

std::vector<StepSizes> read_step_sizes(const std::string& path) {
  std::vector<StepSizes> out;
  std::map<std::pair<std::string, int>, std::size_t> places;
  each_line(path, [&](const Json& json) {
    const auto step = static_cast<double>(integer(json, "step"));
    for (const bool weight : {true, false}) {
      const Json& quantizers = member(json, weight ? "weights" : "activations");
      if (!quantizers.is_object()) continue;
      for (const auto& [name, sizes] : quantizers.items())
        for (const auto& [bits_text, size] : terms_of(sizes)) {
          int bits = 0;
          std::from_chars(bits_text.data(), bits_text.data() + bits_text.size(), bits);
          const auto [place, is_new] = places.try_emplace({name, bits}, out.size());
          if (is_new) out.push_back({name, weight, bits, {}, {}});
          out[place->second].steps.push_back(step);
          out[place->second].sizes.push_back(size);
        }
    }
  });
  return out;
}

std::vector<Session> read_sessions(const std::string& path) {
  std::vector<Session> out;
  each_line(path, [&](const Json& json) {
    if (text(json, "event") == "start") {
      Session s;
      s.from_step = integer(json, "step");
      s.started = text(json, "date");
      s.version = text(json, "version");
      s.commit = text(json, "commit");
      s.cpu = text(json, "cpu");
      s.threads = static_cast<int>(integer(json, "threads"));
      s.source_images = integer(json, "source_images");
      s.target_images = integer(json, "target_images");
      s.classes = integer(json, "classes");
      out.push_back(s);
    } else if (!out.empty()) {
      out.back().ended = text(json, "date");
      out.back().how = text(json, "how");
    }
  });
  return out;
}

std::string last_part(const std::string& folder) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(folder, error);
  return error || path.filename().empty() ? folder : path.filename().string();
}

}  // namespace

RunData read_run(const std::string& folder, const std::string& program) {
  RunData run;
  run.paths = {folder};
  run.name = last_part(folder);
  if (!fs::exists(run.paths.config())) {
    find_run(folder);  // throws where there is no run at all
    throw std::runtime_error("[report] cannot read " + run.paths.config() +
                             ": the report needs the configuration that `rtfq train` wrote");
  }
  run.config = read_config(run.paths.config());
  run.log = read_log(run.paths.log());
  run.step_sizes = read_step_sizes(run.paths.quantizers());
  run.sessions = read_sessions(run.paths.sessions());
  if (run.log.empty())
    run.missing.push_back("There is no log.jsonl, so there are no training curves: `" + program +
                          " train` writes it.");
  if (run.step_sizes.empty() && !run.source_only() && run.last_step() > run.config.train.float_steps)
    run.missing.push_back(
        "There is no quantizers.jsonl, so step sizes are not shown over time: training writes it with "
        "train.log_steps_every above 0.");
  if (!fs::exists(run.paths.subnets())) {
    if (run.finished())
      run.missing.push_back("No subnet has been measured yet: `" + program + " eval " + folder +
                            " --all` writes subnets.json with the accuracies and costs of all.");
    return run;
  }
  try {
    run.scores = read_scores(run.paths.subnets());
  } catch (const std::exception& error) {
    run.missing.push_back(error.what());
  }
  if (std::none_of(run.scores.begin(), run.scores.end(),
                   [](const SubnetScore& s) { return s.accuracy.has_value(); }) &&
      !run.scores.empty())
    run.missing.push_back("subnets.json holds no accuracies on the target: `" + program + " eval " + folder +
                          " --all --data DIR` measures them on labelled images.");
  return run;
}

}  // namespace rtfq::report
