#include "training/start.h"

#include <nlohmann/json.hpp>

#include "engine/json.h"

namespace rtfq {

checkpoint::StartReport start_from_checkpoint(Supernet& network, const Config& config) {
  return checkpoint::start_from(network, checkpoint::read_pretrained(config.checkpoint));
}

std::string record_of(const checkpoint::StartReport& report) {
  Json record{{"file", report.origin.file},
              {"sha256", report.origin.sha256},
              {"format", report.origin.format},
              {"arch", report.arch},
              {"sorted", report.sorted}};
  if (!report.origin.first.empty()) record["source_sha256"] = report.origin.first;
  return print_json(record);
}

std::string record_text(const std::string& record) {
  const Json json = parse_json(record);
  const auto text = [&](const char* key) {
    return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>()
                                                                           : "?";
  };
  const bool sorted = json.is_object() && json.contains("sorted") && json["sorted"] == true;
  return text("file") + " (" + text("arch") + (sorted ? ", channels sorted" : "") + "), sha256 " +
         text("sha256");
}

}  // namespace rtfq
