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

}  // namespace

void write_scores(const std::string& path, std::vector<SubnetScore> scores) {
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
                    {"accuracy", number(s.accuracy)},
                    {"source_accuracy", number(s.source_accuracy)}});
  write_file_atomically(path, print_json(rows, 1) + "\n");
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
    for (const Json& row : rows)
      scores.push_back({{row.at("width").get<double>(), row.at("depth").get<double>(),
                         row.at("resolution").get<int>(), row.at("bits").get<int>()},
                        {row.at("params").get<int64_t>(), row.at("bytes").get<int64_t>(),
                         row.at("macs").get<int64_t>(), row.at("bitops").get<int64_t>()},
                        number(row, "accuracy"),
                        number(row, "source_accuracy")});
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error("[select] " + path + " is damaged (" + error.what() +
                             "): run `rtfq eval RUN --all` again");
  }
  return scores;
}

}  // namespace rtfq
