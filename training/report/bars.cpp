// Charts of bars.
#include <algorithm>
#include <cmath>
#include <limits>

#include "training/report/canvas.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

constexpr double slope = 0.64;  // sine of 40 degrees, the angle of names that do not fit side by side

struct Names {
  bool slanted = false;
  double bottom = 24;  ///< pixels below the plot
  double left = 0;     ///< pixels that the first name needs left of its group's middle
};

Names names_of(const std::vector<std::string>& categories, double room) {
  Names out;
  double widest = 0;
  for (const std::string& name : categories) widest = std::max(widest, text_width(name, text_size));
  out.slanted = widest + 8 > room;
  if (out.slanted) {
    out.bottom = 14 + slope * widest;
    out.left = 0.77 * text_width(categories.front(), text_size);  // cosine of the angle
  }
  return out;
}

struct Range {
  double low = 0, high = 0;
};

Range range_of(const std::vector<BarSeries>& series, const ChartOptions& options, bool& any) {
  Range out;
  any = false;
  for (const BarSeries& s : series)
    for (const Bar& b : s.bars) {
      if (!std::isfinite(b.value)) continue;
      any = true;
      out.low = std::min({out.low, b.value, b.value - b.spread});
      out.high = std::max({out.high, b.value, b.value + b.spread});
    }
  for (const Reference& r : options.references)
    if (std::isfinite(r.y)) out.low = std::min(out.low, r.y), out.high = std::max(out.high, r.y);
  if (out.low < 0) out.low -= 0.06 * (out.high - out.low);
  if (out.high > 0) out.high += 0.08 * (out.high - std::max(out.low, options.y_low.value_or(out.low)));
  if (options.y_low) out.low = *options.y_low;
  if (options.y_high) out.high = *options.y_high;
  return out;
}

std::string strip_head(const std::string& title, int width, int height) {
  const std::string w = std::to_string(width), h = std::to_string(height), name = escape(title);
  return "<svg class=\"chart strip\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + w + " " + h +
         "\" width=\"" + w + "\" height=\"" + h + "\" role=\"img\" aria-label=\"" + name + "\"><title>" +
         name + "</title>";
}

}  // namespace

std::string bar_chart(const std::vector<std::string>& categories, const std::vector<BarSeries>& series,
                      const ChartOptions& options) {
  bool any = false;
  const Range range = range_of(series, options, any);
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < series.size(); ++i)
    legend.push_back({series.size() > 1 ? series[i].name : "", LegendEntry::Kind::box,
                      series[i].colour < 0 ? static_cast<int>(i) : series[i].colour, 0, 0});
  Canvas canvas(options, legend);
  if (!any || categories.empty()) {
    canvas.text(options.width / 2.0, options.height / 2.0, "no data", Anchor::middle, "axis");
    return canvas.finish();
  }
  const Axis values(range.low, range.high, Scale::linear, 1, 0);
  const auto ticks = round_ticks(values.low(), values.high(), Scale::linear, options.height / 55);
  const double slot_guess = (options.width - 70.0) / static_cast<double>(categories.size());
  const Names names = names_of(categories, slot_guess);
  const Box plot = canvas.layout(ticks, names.bottom, names.left - 0.5 * slot_guess + 4);
  const Axis y(values.low(), values.high(), Scale::linear, plot.y + plot.height, plot.y);
  canvas.grid(ticks, y);
  const double slot = plot.width / static_cast<double>(categories.size());
  const double zero = y.at(std::clamp(0.0, y.low(), y.high()));
  const double wide =
      std::min(60.0, 0.8 * slot / static_cast<double>(std::max<std::size_t>(1, series.size())));
  for (std::size_t c = 0; c < categories.size(); ++c) {
    const double middle = plot.x + (static_cast<double>(c) + 0.5) * slot;
    if (names.slanted)
      canvas.text(middle + 4, plot.y + plot.height + 14, categories[c], Anchor::end, "tick",
                  " transform=\"rotate(-40 " + fixed(middle + 4, 1) + " " +
                      fixed(plot.y + plot.height + 14, 1) + ")\"");
    else
      canvas.text(middle, plot.y + plot.height + 18, categories[c], Anchor::middle, "tick");
    for (std::size_t i = 0; i < series.size(); ++i) {
      if (c >= series[i].bars.size() || !std::isfinite(series[i].bars[c].value)) continue;
      const Bar& bar = series[i].bars[c];
      const double left = middle + (static_cast<double>(i) - static_cast<double>(series.size()) / 2) * wide;
      const double end = y.at(std::clamp(bar.value, y.low(), y.high()));
      std::string title = bar.title;
      if (title.empty()) {
        title =
            categories[c] + (series[i].name.empty() ? "" : ", " + series[i].name) + ": " + rounded(bar.value);
        if (bar.spread > 0) title += " ± " + rounded(bar.spread);
      }
      canvas.bar(
          {left + 0.5, std::min(zero, end), std::max(1.0, wide - 1), std::max(0.5, std::abs(zero - end))},
          series[i].colour < 0 ? static_cast<int>(i) : series[i].colour, title);
      if (bar.spread > 0)
        canvas.error_bar(left + wide / 2, y.at(std::clamp(bar.value - bar.spread, y.low(), y.high())),
                         y.at(std::clamp(bar.value + bar.spread, y.low(), y.high())), "ink");
    }
  }
  canvas.line({{plot.x, zero}, {plot.x + plot.width, zero}}, "base", 0, "");
  draw_references(canvas, options, y, plot);
  return canvas.finish();
}

std::string histogram_strip(const std::vector<double>& counts, const std::string& title, int width,
                            int height) {
  std::string out = strip_head(title, width, height);
  double most = 0, second = 0;
  for (const double count : counts) {
    second = std::max(second, std::min(most, count));
    most = std::max(most, count);
  }
  if (second > 0 && most > 3 * second) most = 1.1 * second;
  std::string path;
  const double wide =
      static_cast<double>(width) / static_cast<double>(std::max<std::size_t>(1, counts.size()));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (!(counts[i] > 0)) continue;
    const double tall = std::clamp((height - 2) * counts[i] / most, 1.0, height - 2.0);
    path += "M" + fixed(static_cast<double>(i) * wide, 2) + " " + std::to_string(height - 1) + "v-" +
            fixed(tall, 1) + "h" + fixed(wide, 2) + "v" + fixed(tall, 1) + "z";
  }
  return out + "<path class=\"c0\" d=\"" + path + "\"/><path class=\"base\" d=\"M0 " +
         fixed(height - 0.5, 1) + "h" + std::to_string(width) + "\"/></svg>";
}

std::string sparkline(const std::vector<double>& values, const std::string& title, int colour, int width,
                      int height) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double value : values)
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  std::string path;
  bool joined = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      joined = false;
      continue;
    }
    const double share = high > low ? (values[i] - low) / (high - low) : 0.5;
    const double at =
        values.size() > 1 ? static_cast<double>(i) / static_cast<double>(values.size() - 1) : 0.5;
    path += (joined ? "L" : "M") + fixed(2 + at * (width - 4), 1) + " " +
            fixed(height - 3 - share * (height - 6), 1);
    joined = true;
  }
  return strip_head(title, width, height) + "<path class=\"line " + line_class(colour) + "\" d=\"" + path +
         "\"/></svg>";
}

}  // namespace rtfq::report
