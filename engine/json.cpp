#include "engine/json.h"

#include <nlohmann/json.hpp>

namespace rtfq {

namespace {

/// Printing recurses, so that text of a few kilobytes could exhaust the stack.
constexpr int max_depth = 256;

bool too_deep(const std::string& text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > max_depth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Json parse_json(const std::string& text) {
  if (too_deep(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, false);
}

std::string print_json(const Json& json, int indent) {
  return json.dump(indent);
}

}  // namespace rtfq
