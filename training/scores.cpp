#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "engine/json.h"
#include "engine/safetensors.h"
#include "training/evaluation.h"

namespace rtfq {
namespace {

Json number(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::optional<double> number(const Json& row, const char* key) {
  if (!row.contains(key) || row.at(key).is_null()) return std::nullopt;
  return row.at(key).get<double>();
}

Json latency_json(const std::optional<Latency>& latency) {
  if (!latency) return nullptr;
  return {{"spread_ms", latency->spread},
          {"batch", latency->batch},
          {"threads", latency->threads},
          {"machine", latency->machine}};
}

std::optional<Latency> latency_of(const Json& row) {
  const auto milliseconds = number(row, "latency_ms");
  if (!milliseconds || !row.contains("latency")) return {};
  const Json& how = row.at("latency");
  return Latency{*milliseconds, how.at("spread_ms").get<double>(), how.at("batch").get<int>(),
                 how.at("threads").get<int>(), how.at("machine").get<std::string>()};
}

SubnetScore score_of(const Json& row) {
  SubnetScore score{{row.at("width").get<double>(), row.at("depth").get<double>(),
                     row.at("resolution").get<int>(), row.at("bits").get<int>()},
                    {row.at("params").get<int64_t>(), row.at("bytes").get<int64_t>(),
                     row.at("macs").get<int64_t>(), row.at("bitops").get<int64_t>()}};
  if (const auto memory = number(row, "memory")) score.cost.memory = static_cast<int64_t>(*memory);
  score.accuracy = number(row, "accuracy");
  score.class_accuracy = number(row, "class_accuracy");
  score.source_accuracy = number(row, "source_accuracy");
  score.source_held_out = row.contains("source_held_out") && row.at("source_held_out") == true;
  score.entropy = number(row, "entropy");
  score.mean_prediction_entropy = number(row, "mean_prediction_entropy");
  score.teacher_agreement = number(row, "teacher_agreement");
  score.latency = latency_of(row);
  return score;
}

}  // namespace

std::string scores_json(std::vector<SubnetScore> scores) {
  std::stable_sort(scores.begin(), scores.end(),
                   [](const SubnetScore& a, const SubnetScore& b) { return a.cost.bitops < b.cost.bitops; });
  Json rows = Json::array();
  for (const SubnetScore& s : scores)
    rows.push_back({{"id", id(s.subnet)},
                    {"width", s.subnet.width},
                    {"depth", s.subnet.depth},
                    {"resolution", s.subnet.resolution},
                    {"bits", s.subnet.bits},
                    {"params", s.cost.params},
                    {"bytes", s.cost.bytes},
                    {"macs", s.cost.macs},
                    {"bitops", s.cost.bitops},
                    {"memory", s.cost.memory ? Json(s.cost.memory) : Json(nullptr)},
                    {"accuracy", number(s.accuracy)},
                    {"class_accuracy", number(s.class_accuracy)},
                    {"source_accuracy", number(s.source_accuracy)},
                    {"source_held_out", s.source_accuracy ? Json(s.source_held_out) : Json(nullptr)},
                    {"entropy", number(s.entropy)},
                    {"mean_prediction_entropy", number(s.mean_prediction_entropy)},
                    {"teacher_agreement", number(s.teacher_agreement)},
                    {"latency_ms", s.latency ? Json(s.latency->milliseconds) : Json(nullptr)},
                    {"latency", latency_json(s.latency)}});
  return print_json(rows, 1) + "\n";
}

void write_scores(const std::string& path, std::vector<SubnetScore> scores) {
  write_file_atomically(path, scores_json(std::move(scores)));
}

std::vector<SubnetScore> read_scores(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("[select] cannot read " + path + ": run `rtfq eval RUN --all` first");
  std::stringstream text;
  text << in.rdbuf();
  const Json rows = parse_json(text.str());
  if (!rows.is_array())
    throw std::runtime_error("[select] " + path +
                             " is not a list of subnets: run `rtfq eval RUN --all` again");
  std::vector<SubnetScore> scores;
  try {
    for (const Json& row : rows) scores.push_back(score_of(row));
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error("[select] " + path + " is damaged (" + error.what() +
                             "): run `rtfq eval RUN --all` again");
  }
  return scores;
}

}  // namespace rtfq
