#include "engine/json.h"

#include <nlohmann/json.hpp>

namespace rtfq {

Json parse_json(const std::string& text) {
  return Json::parse(text, nullptr, false);
}

std::string print_json(const Json& json, int indent) {
  return json.dump(indent);
}

}  // namespace rtfq
