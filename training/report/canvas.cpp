#include "training/report/canvas.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "training/report/text.h"

namespace rtfq::report {
namespace {

constexpr double legend_size = 12, legend_row = 18, mark_width = 22, mark_radius = 4.2;

std::string px(double value) {
  std::string text = fixed(value, 1);
  if (text.ends_with(".0")) text.erase(text.size() - 2);
  return text;
}

int positive_modulo(int value, int count) {
  return ((value % count) + count) % count;
}

/// Outlines around (0, 0) that look equally large.
std::string shape_path(int shape) {
  static constexpr std::array<const char*, shape_count> paths{
      "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z",            // disc
      "M-3.8 -3.8h7.6v7.6h-7.6z",                                     // square
      "M0 -5.2L5 3.8H-5z",                                            // triangle
      "M0 -5.4L5.4 0L0 5.4L-5.4 0z",                                  // diamond
      "M-5 -3.8H5L0 5.2z",                                            // triangle on its tip
      "M-1.6 -5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z"};  // cross
  return paths[static_cast<std::size_t>(positive_modulo(shape, shape_count))];
}

std::string dash_attribute(int dash) {
  static constexpr std::array<const char*, 4> patterns{"", "7 4", "2 3", "9 3 2 3"};
  const char* pattern = patterns[static_cast<std::size_t>(positive_modulo(dash, 4))];
  return *pattern ? " stroke-dasharray=\"" + std::string(pattern) + "\"" : "";
}

double overlap(const Box& a, const Box& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

std::string title_element(const std::string& title) {
  return title.empty() ? "" : "<title>" + escape(title) + "</title>";
}

/// Lines of words, none wider than `room` where words allow it.
std::vector<std::string> wrapped(const std::string& text, double size, double room) {
  std::vector<std::string> lines(1);
  for (std::size_t from = 0; from < text.size();) {
    std::size_t to = text.find(' ', from);
    if (to == text.npos) to = text.size();
    const std::string word = text.substr(from, to - from);
    const std::string longer = lines.back().empty() ? word : lines.back() + " " + word;
    if (lines.back().empty() || text_width(longer, size) <= room)
      lines.back() = longer;
    else
      lines.push_back(word);
    from = to + 1;
  }
  return lines;
}

}  // namespace

double text_width(const std::string& text, double size) {
  double ems = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;  // rest of a UTF-8 sequence
    const bool narrow = std::string("iIljft.,:;|'()[]!- ").find(c) != std::string::npos;
    const bool wide = std::string("mwMW%@").find(c) != std::string::npos;
    const bool capital = c >= 'A' && c <= 'Z';
    ems += wide ? 0.92 : narrow ? 0.36 : capital ? 0.7 : 0.6;
  }
  return ems * size;
}

std::string fill_class(int colour) {
  return "c" + std::to_string(positive_modulo(colour, colour_count));
}
std::string line_class(int colour) {
  return "l" + std::to_string(positive_modulo(colour, colour_count));
}

Canvas::Canvas(const ChartOptions& options, const std::vector<LegendEntry>& legend) : options_(options) {
  top_ = 8;
  if (!options.title.empty())
    for (const std::string& row : wrapped(options.title, 15, options.width - 24.0)) {
      text(12, top_ += 18, row, Anchor::start, "title");
      top_ += 2;
    }
  double x = 12;
  bool any = false;
  for (const LegendEntry& entry : legend) {
    if (entry.name.empty()) continue;
    const double wide = mark_width + 6 + text_width(entry.name, legend_size) + 14;
    if (!any) top_ += legend_row;
    if (any && x + wide > options.width) x = 12, top_ += legend_row;
    any = true;
    const double y = top_ - 4;
    using Kind = LegendEntry::Kind;
    if (entry.kind == Kind::line || entry.kind == Kind::line_and_marker)
      line({{x, y}, {x + mark_width, y}}, line_class(entry.colour), entry.dash, "");
    if (entry.kind == Kind::marker || entry.kind == Kind::line_and_marker)
      marker(x + mark_width / 2, y, entry.colour, entry.shape, false, "");
    if (entry.kind == Kind::box) bar({x + 8, y - 5, 11, 11}, entry.colour, "");
    text(x + mark_width + 6, top_, entry.name, Anchor::start, "legend");
    x += wide;
  }
  top_ += 6;
}

Box Canvas::layout(const std::vector<Tick>& y_labels, double bottom, double least_left) {
  double left = 0;
  for (const Tick& tick : y_labels) left = std::max(left, text_width(tick.label, text_size));
  if (!options_.y_label.empty())
    for (const std::string& row : wrapped(options_.y_label, text_size, options_.width - 24.0))
      text(12, top_ += 16, row, Anchor::start, "axis");
  plot_.x = std::max(12 + left + 8, least_left);
  plot_.y = top_ + 10;
  plot_.width = std::max(10.0, options_.width - 18 - plot_.x);
  const double title = options_.x_label.empty() ? 6 : 24;
  plot_.height = std::max(10.0, options_.height - bottom - title - plot_.y);
  if (!options_.x_label.empty())
    text(plot_.x + plot_.width, options_.height - 9.0, options_.x_label, Anchor::end, "axis");
  return plot_;
}

void Canvas::grid(const std::vector<Tick>& ticks, const Axis& y) {
  for (const Tick& tick : ticks) {
    const std::string at = px(y.at(tick.value));
    body_ += "<path class=\"grid\" d=\"M" + px(plot_.x) + " " + at + "h" + px(plot_.width) + "\"/>\n";
    text(plot_.x - 8, y.at(tick.value) + 4.5, tick.label, Anchor::end, "tick");
  }
}

void Canvas::x_ticks(const std::vector<Tick>& ticks, const Axis& x) {
  const double floor = plot_.y + plot_.height;
  body_ += "<path class=\"base\" d=\"M" + px(plot_.x) + " " + px(floor) + "h" + px(plot_.width) + "\"/>\n";
  double free_from = -1e9;
  for (const Tick& tick : ticks) {
    const double at = x.at(tick.value), half = text_width(tick.label, text_size) / 2;
    body_ += "<path class=\"base\" d=\"M" + px(at) + " " + px(floor) + "v4\"/>\n";
    const double middle = std::min(at, options_.width - 4 - half);
    if (middle - half < free_from) continue;
    text(middle, floor + 18, tick.label, Anchor::middle, "tick");
    free_from = middle + half + 8;
  }
}

void Canvas::line(const std::vector<std::pair<double, double>>& points, const std::string& css_class,
                  int dash, const std::string& title) {
  if (points.empty()) return;
  std::string path;
  for (const auto& [x, y] : points) path += (path.empty() ? "M" : "L") + px(x) + " " + px(y);
  body_ += "<path class=\"line " + css_class + "\" d=\"" + path + "\"" + dash_attribute(dash) + ">" +
           title_element(title) + "</path>\n";
}

void Canvas::marker(double x, double y, int colour, int shape, bool faint, const std::string& title) {
  body_ += "<path class=\"mark " + fill_class(colour) + (faint ? " faint" : "") +
           "\" transform=\"translate(" + px(x) + " " + px(y) + ")\" d=\"" + shape_path(shape) + "\">" +
           title_element(title) + "</path>\n";
  occupy({x - mark_radius - 1, y - mark_radius - 1, 2 * mark_radius + 2, 2 * mark_radius + 2});
}

void Canvas::error_bar(double x, double low, double high, const std::string& css_class) {
  body_ += "<path class=\"error " + css_class + "\" d=\"M" + px(x) + " " + px(low) + "V" + px(high) + "M" +
           px(x - 4) + " " + px(low) + "h8M" + px(x - 4) + " " + px(high) + "h8\"/>\n";
  occupy({x - 4, std::min(low, high), 8, std::abs(high - low)});
}

void Canvas::bar(const Box& box, int colour, const std::string& title) {
  body_ += "<rect class=\"" + fill_class(colour) + "\" x=\"" + px(box.x) + "\" y=\"" + px(box.y) +
           "\" width=\"" + px(box.width) + "\" height=\"" + px(box.height) + "\">" + title_element(title) +
           "</rect>\n";
  occupy(box);
}

void Canvas::text(double x, double y, const std::string& text, Anchor anchor, const std::string& css_class,
                  const std::string& more) {
  const char* side = anchor == Anchor::start    ? ""
                     : anchor == Anchor::middle ? " text-anchor=\"middle\""
                                                : " text-anchor=\"end\"";
  body_ += "<text class=\"" + css_class + "\" x=\"" + px(x) + "\" y=\"" + px(y) + "\"" + side + more + ">" +
           escape(text) + "</text>\n";
}

void Canvas::label(const std::string& words, const std::vector<Box>& places, const std::string& css_class,
                   bool must) {
  const Box* best = nullptr;
  double least = 0;
  for (const Box& place : places) {
    const bool outside = place.x < 2 || place.x + place.width > options_.width - 2 || place.y < plot_.y - 6 ||
                         place.y + place.height > plot_.y + plot_.height;
    double hidden = outside ? place.width * place.height : 0;
    for (const Box& box : taken_) hidden += overlap(place, box);
    if (!best || hidden < least - 1e-9) best = &place, least = hidden;
  }
  if (!best || (!must && least > 0.5 * best->width * best->height)) return;
  text(best->x, best->y + best->height - 4, words, Anchor::start, "label " + css_class);
  occupy(*best);
}

std::string Canvas::finish() const {
  const std::string width = std::to_string(options_.width), height = std::to_string(options_.height);
  const bool alone = options_.form == Form::stand_alone;
  // Inside a page the margin is the page's.
  const std::string box = alone ? "0 0 " + width : "10 0 " + std::to_string(options_.width - 20);
  std::string out = "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"" + box + " " +
                    height + "\"" + (alone ? " width=\"" + width + "\" height=\"" + height + "\"" : "") +
                    " role=\"img\" aria-label=\"" + escape(options_.title) + "\">\n";
  if (alone)
    out += "<style>" + chart_style() + "</style>\n<rect class=\"surface\" width=\"" + width + "\" height=\"" +
           height + "\"/>\n";
  return out + body_ + "</svg>\n";
}

std::string chart_style() {
  // Found by a search for colours that stay apart (CIELAB distance of 21 and more among the first four, 14
  // among all) as seen with normal vision and by three kinds of colour blindness, with contrast of 3.3 and
  // more to the background.
  static constexpr std::array<const char*, colour_count> light{"#3359a4", "#e94b0b", "#079052", "#a474a1",
                                                               "#545605", "#7083e8", "#7b4d67"};
  static constexpr std::array<const char*, colour_count> dark{"#7d89f0", "#f2694d", "#38d982", "#c9a2e7",
                                                              "#c1c32d", "#b3ede0", "#a0a3a4"};
  const auto properties = [](const auto& colours) {
    std::string out;
    for (std::size_t i = 0; i < colours.size(); ++i)
      out += "--c" + std::to_string(i) + ":" + colours[i] + ";";
    return out;
  };
  std::string out = ":root{color-scheme:light dark;" + properties(light) +
                    "--ink:#1b1d21;--muted:#565b64;--grid:#e3e5e9;--surface:#ffffff}\n"
                    "@media(prefers-color-scheme:dark){:root{" +
                    properties(dark) + "--ink:#e9ebee;--muted:#a4a9b2;--grid:#33373e;--surface:#16181c}}\n";
  out +=
      ".chart{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
      "font-variant-numeric:tabular-nums}\n"
      ".chart text{fill:var(--muted)}.chart .title{font-size:15px;font-weight:600;fill:var(--ink)}\n"
      ".chart .legend{font-size:12px;fill:var(--ink)}.chart .axis{fill:var(--ink)}\n"
      ".chart "
      ".label{font-size:12px;fill:var(--ink);paint-order:stroke;stroke:var(--surface);stroke-width:3px;"
      "stroke-linejoin:round}\n"
      ".chart .surface{fill:var(--surface)}.chart .grid{stroke:var(--grid);fill:none}\n"
      ".chart .base{stroke:var(--muted);fill:none}\n"
      ".chart .line{fill:none;stroke-width:1.8px;stroke-linejoin:round}\n"
      ".chart .reference{stroke-width:1.5px}.chart .front{stroke:var(--ink);stroke-width:1.2px;opacity:.55}"
      ".chart .fronts{stroke-width:1.2px;opacity:.7}.chart "
      ".division{stroke:var(--muted);stroke-width:1px;opacity:.6}\n"
      ".chart .error{fill:none;stroke-width:1.4px}.chart .ink{stroke:var(--ink)}\n"
      ".chart .mark{stroke:var(--surface);stroke-width:.8px}.chart .faint{opacity:.5}\n";
  for (int i = 0; i < colour_count; ++i)
    out += ".chart .c" + std::to_string(i) + "{fill:var(--c" + std::to_string(i) + ")}.chart .l" +
           std::to_string(i) + "{stroke:var(--c" + std::to_string(i) + ")}\n";
  return out;
}

}  // namespace rtfq::report
