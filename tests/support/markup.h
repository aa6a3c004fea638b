#pragma once
// Checks of HTML and SVG text.

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

namespace rtfq::test {

inline std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

/// Every element is closed in order, every attribute is quoted, no bare & or < stands in text.
inline void require_well_formed(const std::string& text) {
  static const std::set<std::string> empty_elements{"!doctype", "br", "img", "meta", "col", "hr", "link"};
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto around = [&] { return text.substr(at > 60 ? at - 60 : 0, 160); };
  while (at < text.size()) {
    if (text[at] == '&') {
      const std::size_t end = text.find(';', at);
      INFO(around());
      REQUIRE((end != text.npos && end - at <= 8));
    }
    if (text[at] != '<') {
      ++at;
      continue;
    }
    if (text.compare(at, 4, "<!--") == 0) {
      at = text.find("-->", at) + 3;
      continue;
    }
    INFO(around());
    std::size_t end = at + 1;
    bool quoted = false;
    for (; end < text.size() && (quoted || text[end] != '>'); ++end) {
      if (text[end] == '"') quoted = !quoted;
      REQUIRE((text[end] != '<'));
    }
    REQUIRE(end < text.size());
    const bool closes = text[at + 1] == '/', alone = text[end - 1] == '/';
    std::string name =
        text.substr(at + 1 + closes, text.find_first_of(" \n/>", at + 1 + closes) - at - 1 - closes);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    REQUIRE_FALSE(name.empty());
    if (closes) {
      REQUIRE_FALSE(open.empty());
      REQUIRE(open.back() == name);
      open.pop_back();
    } else if (!alone && !empty_elements.count(name)) {
      open.push_back(name);
    }
    at = end + 1;
    if (name == "style" && !closes) at = text.find("</style>", at);
  }
  INFO((open.empty() ? "" : open.back()));
  REQUIRE(open.empty());
}

}  // namespace rtfq::test
