// JSON with comments and trailing commas, on top of nlohmann-json (which knows the comments).
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "training/config_schema.h"

namespace rtfq::schema {
namespace {

/// Far beyond any configuration; what prints values recurses.
constexpr int max_depth = 64;

/// The first position at or after `i` that is neither white space nor inside a comment.
std::size_t skip_blank(const std::string& text, std::size_t i) {
  while (i < text.size()) {
    if (std::isspace(static_cast<unsigned char>(text[i]))) {
      ++i;
    } else if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      const std::size_t end = text.find("*/", i + 2);
      i = end == text.npos ? text.size() : end + 2;
    } else {
      break;
    }
  }
  return i;
}

/// Replaces every comma that only white space and comments part from a closing bracket by a blank, which
/// leaves lines and columns of later errors as they were.
std::string without_trailing_commas(std::string text) {
  bool after_value = false;  // a comma that follows no value stays, for the parser to refuse
  for (std::size_t i = skip_blank(text, 0); i < text.size(); i = skip_blank(text, i)) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
    } else if (c == ',' && after_value) {
      const std::size_t next = skip_blank(text, i + 1);
      if (next < text.size() && (text[next] == '}' || text[next] == ']')) text[i] = ' ';
    }
    after_value = c != ',' && c != '[' && c != '{' && c != ':';
    ++i;
  }
  return text;
}

}  // namespace

Json parse_jsonc(const std::string& text, const std::string& origin) {
  std::vector<std::set<std::string>> open_objects;
  const auto refuse = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > max_depth)
      throw std::invalid_argument("[config] " + origin + ": nested deeper than " + std::to_string(max_depth) +
                                  " levels");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && !open_objects.back().insert(value.get<std::string>()).second)
      throw std::invalid_argument("[config] " + origin + ": the key '" + value.get<std::string>() +
                                  "' appears twice in one object: keep one of them");
    return true;
  };
  try {
    return Json::parse(without_trailing_commas(text), refuse, true, true);
  } catch (const Json::exception& error) {
    std::string what = error.what();
    if (const std::size_t end = what.find("] "); end != what.npos) what.erase(0, end + 2);
    throw std::invalid_argument("[config] " + origin + ": " + what);
  }
}

}  // namespace rtfq::schema
