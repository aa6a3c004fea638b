#pragma once
// The pieces of a report's page. What is called `html` is markup, everything else text that is escaped here.

#include <string>
#include <vector>

namespace rtfq::report {

/// A whole document with its style, without scripts. `refresh`: seconds after which a browser loads it anew;
/// 0: never.
std::string document(const std::string& title, const std::string& html, int refresh);

std::string section(const std::string& heading, const std::string& html);
std::string paragraph(const std::string& text);
/// Folded away until it is opened.
std::string folded(const std::string& summary, const std::string& html, bool open = false);
/// Units of a chart's width: about the pixels that it gets on a wide page and on a telephone, so that its
/// text keeps its size.
inline constexpr int page_chart_width = 440;

/// Charts side by side where there is room.
std::string charts(const std::vector<std::string>& svgs);
/// A list of notes in a frame; `kind`: "note" or "warning". Empty without any.
std::string notes(const std::string& kind, const std::vector<std::string>& texts);

struct Cell {
  std::string text;
  bool number = false;   ///< to the right
  bool is_html = false;  ///< `text` is markup
};
/// Scrolls sideways in a frame of its own where the page is narrow. `strong`: rows to stress, by index.
std::string table(const std::vector<Cell>& head, const std::vector<std::vector<Cell>>& rows,
                  const std::vector<std::size_t>& strong = {});

/// Names and values, one pair a line.
std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs);

/// A figure among others at the top: a value in large type and what it is.
struct Tile {
  std::string value, what;
};
std::string tiles(const std::vector<Tile>&);

}  // namespace rtfq::report
