#include "training/report/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "training/report/canvas.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

bool drawable(double value, Scale scale) {
  return std::isfinite(value) && (scale == Scale::linear || value > 0);
}
bool drawable(const Point& p, const ChartOptions& o) {
  return drawable(p.x, o.x_scale) && drawable(p.y, o.y_scale);
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value, Scale scale) {
    if (drawable(value, scale)) low = std::min(low, value), high = std::max(high, value);
  }
  bool empty() const { return low > high; }
  /// A little more on both sides, so that no marker sits on the frame.
  void pad(Scale scale, double share) {
    if (scale == Scale::log) {
      const double factor = std::pow(high / low, share);
      low /= factor, high *= factor;
    } else {
      const double more = (high - low) * share;
      low -= more, high += more;
    }
  }
};

struct Ranges {
  Range x, y;
};

Ranges ranges_of(const std::vector<Series>& series, const ChartOptions& options, bool lines) {
  Ranges out;
  for (const Series& s : series)
    for (const Point& p : s.points) {
      if (!drawable(p, options)) continue;
      out.x.add(p.x, options.x_scale);
      for (const double y : {p.y, p.y - p.spread, p.y + p.spread}) out.y.add(y, options.y_scale);
    }
  if (out.x.empty()) return out;
  for (const Reference& r : options.references) out.y.add(r.y, options.y_scale);
  out.x.pad(options.x_scale, lines ? 0 : 0.05);
  const bool from_zero = options.y_scale == Scale::linear && out.y.low >= 0;
  // Room for a label below the lowest reference line.
  out.y.pad(options.y_scale, options.references.empty() ? 0.06 : 0.1);
  if (from_zero) out.y.low = std::max(0.0, out.y.low);
  if (options.y_low) out.y.low = *options.y_low;
  if (options.y_high) out.y.high = *options.y_high;
  return out;
}

/// How a series looks, its own choices or those of its position.
struct Look {
  int colour, shape, dash;
};
Look look_of(const Series& s, std::size_t index) {
  const auto or_position = [&](int own) { return own < 0 ? static_cast<int>(index) : own; };
  return {or_position(s.colour), or_position(s.shape), s.dash < 0 ? static_cast<int>(index) / 2 : s.dash};
}

std::string nothing(const ChartOptions& options) {
  Canvas canvas(options, {});
  canvas.text(options.width / 2.0, options.height / 2.0, "no data", Anchor::middle, "axis");
  return canvas.finish();
}

/// Places for a label beside a point: right, left, above, below.
std::vector<Box> beside(double x, double y, const std::string& text) {
  const double width = text_width(text, 12), height = 15;
  return {{x + 8, y - height / 2 - 1, width, height},     {x - 8 - width, y - height / 2 - 1, width, height},
          {x - width / 2, y - 8 - height, width, height}, {x - width / 2, y + 8, width, height},
          {x + 6, y - height - 4, width, height},         {x + 6, y + 4, width, height},
          {x - 6 - width, y - height - 4, width, height}, {x - 6 - width, y + 4, width, height}};
}

struct Plot {
  Canvas canvas;
  Axis x, y;
  Box area;
};

Plot prepare(const std::vector<LegendEntry>& legend, const ChartOptions& options, const Ranges& ranges) {
  Canvas canvas(options, legend);
  const Axis values(ranges.y.low, ranges.y.high, options.y_scale, 1, 0);  // for its range: pixels come below
  const auto y_ticks = round_ticks(values.low(), values.high(), options.y_scale, options.height / 55);
  const Box area = canvas.layout(y_ticks, 24);
  const Axis y(values.low(), values.high(), options.y_scale, area.y + area.height, area.y);
  const Axis x(ranges.x.low, ranges.x.high, options.x_scale, area.x, area.x + area.width);
  canvas.grid(y_ticks, y);
  canvas.x_ticks(
      round_ticks(x.low(), x.high(), options.x_scale, static_cast<int>(area.width) / 75, options.whole_x), x);
  return {std::move(canvas), x, y, area};
}

/// What the legend and the tooltip call a point.
std::string tooltip(const Series& series, const Point& p) {
  if (!p.title.empty()) return p.title;
  return (series.name.empty() ? "" : series.name + ": ") + rounded(p.x) + ", " + rounded(p.y);
}

void labels(Plot& plot, const std::vector<Series>& series, const ChartOptions& options) {
  for (const Series& s : series)
    for (const Point& p : s.points)
      if (!p.label.empty() && drawable(p, options))
        plot.canvas.label(p.label, beside(plot.x.at(p.x), plot.y.at(p.y), p.label), "", false);
}

/// Nothing may stick out of the plot's area when y_low or y_high cut it.
bool inside(const Plot& plot, const Point& p) {
  const double low = std::min(plot.y.low(), plot.y.high()), high = std::max(plot.y.low(), plot.y.high());
  return p.y >= low && p.y <= high;
}

void draw_front(Plot& plot, const std::vector<Point>& points, const std::vector<std::size_t>& front,
                const std::string& css_class) {
  std::vector<std::pair<double, double>> path;
  for (const std::size_t i : front) {
    const double x = plot.x.at(points[i].x), y = plot.y.at(points[i].y);
    if (!path.empty()) path.push_back({x, path.back().second});
    path.push_back({x, y});
  }
  if (!path.empty()) path.push_back({plot.area.x + plot.area.width, path.back().second});
  plot.canvas.line(path, css_class, 0, "Pareto front: the best accuracy within a budget");
}

/// Which of the points that can be drawn, in order, are on their front; all of them where no front is wanted.
std::vector<bool> draw_fronts(Plot& plot, const std::vector<Series>& series, const ChartOptions& options) {
  std::map<int, std::vector<Point>> points;        // by front
  std::map<int, std::vector<std::size_t>> places;  // of these in the result
  std::map<int, std::string> classes;
  std::size_t count = 0;
  for (std::size_t i = 0; i < series.size(); ++i)
    for (const Point& p : series[i].points) {
      if (!drawable(p, options)) continue;
      points[series[i].front].push_back(p);
      places[series[i].front].push_back(count++);
      classes.try_emplace(series[i].front, line_class(look_of(series[i], i).colour));
    }
  std::vector<bool> best(count, !options.pareto);
  if (!options.pareto) return best;
  for (const auto& [number, of_front] : points) {
    const auto front = pareto_front(of_front);
    for (const std::size_t i : front) best[places[number][i]] = true;
    draw_front(plot, of_front, front, points.size() == 1 ? "front" : "fronts " + classes[number]);
  }
  return best;
}

}  // namespace

void draw_divisions(Canvas& canvas, const ChartOptions& options, const Axis& x, const Box& plot) {
  for (const Division& division : options.divisions) {
    if (!(division.x >= x.low() && division.x <= x.high())) continue;
    const double at = x.at(division.x);
    canvas.line({{at, plot.y}, {at, plot.y + plot.height}}, "division", 0, division.label);
    const double width = text_width(division.label, 12);
    canvas.label(division.label,
                 {{at + 4, plot.y - 2, width, 15},
                  {at - 4 - width, plot.y - 2, width, 15},
                  {at + 4, plot.y + 16, width, 15},
                  {at + 4, plot.y + plot.height - 18, width, 15},
                  {at - 4 - width, plot.y + plot.height - 18, width, 15}},
                 "", false);
  }
}

void draw_references(Canvas& canvas, const ChartOptions& options, const Axis& y, const Box& plot) {
  for (const Reference& r : options.references) {
    if (!drawable(r.y, options.y_scale)) continue;
    const double at = y.at(r.y);
    canvas.line({{plot.x, at}, {plot.x + plot.width, at}},
                "reference " + (r.colour < 0 ? "ink" : line_class(r.colour)), 1, r.label);
    canvas.occupy({plot.x, at - 1, plot.width, 2});
  }
  for (const Reference& r : options.references) {
    if (!drawable(r.y, options.y_scale) || r.label.empty()) continue;
    const double at = y.at(r.y), width = text_width(r.label, 12);
    std::vector<Box> places;
    for (const double share : {1.0, 0.0, 0.75, 0.5, 0.25})
      for (const double top : {at - 18, at + 3})
        places.push_back({plot.x + 4 + share * (plot.width - 8 - width), top, width, 15});
    canvas.label(r.label, places, "", true);
  }
}

std::vector<std::size_t> pareto_front(const std::vector<Point>& points) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return points[a].x != points[b].x ? points[a].x < points[b].x : points[a].y > points[b].y;
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order)
    if (front.empty() || points[i].y > points[front.back()].y) front.push_back(i);
  return front;
}

std::string scatter_chart(const std::vector<Series>& series, const ChartOptions& options) {
  const Ranges ranges = ranges_of(series, options, false);
  if (ranges.x.empty()) return nothing(options);
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Look look = look_of(series[i], i);
    legend.push_back({series[i].name, LegendEntry::Kind::marker, look.colour, look.shape, 0});
  }
  Plot plot = prepare(legend, options, ranges);
  const std::vector<bool> best = draw_fronts(plot, series, options);
  for (const bool on_front : {false, true}) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < series.size(); ++i) {
      const Look look = look_of(series[i], i);
      for (const Point& p : series[i].points) {
        if (!drawable(p, options)) continue;
        if (best[at++] != on_front || !inside(plot, p)) continue;
        const double x = plot.x.at(p.x);
        if (p.spread > 0)
          plot.canvas.error_bar(x, plot.y.at(p.y - p.spread), plot.y.at(p.y + p.spread),
                                line_class(look.colour));
        plot.canvas.marker(x, plot.y.at(p.y), look.colour, look.shape, !on_front, tooltip(series[i], p));
      }
    }
  }
  draw_references(plot.canvas, options, plot.y, plot.area);
  draw_divisions(plot.canvas, options, plot.x, plot.area);
  labels(plot, series, options);
  return plot.canvas.finish();
}

std::string line_chart(const std::vector<Series>& series, const ChartOptions& options) {
  bool markers = false;
  for (const Series& s : series) markers = markers || s.markers;
  const Ranges ranges = ranges_of(series, options, !markers);
  if (ranges.x.empty()) return nothing(options);
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Look look = look_of(series[i], i);
    legend.push_back({series[i].name,
                      series[i].markers ? LegendEntry::Kind::line_and_marker : LegendEntry::Kind::line,
                      look.colour, look.shape, look.dash});
  }
  Plot plot = prepare(legend, options, ranges);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Series& s = series[i];
    const Look look = look_of(s, i);
    std::vector<std::pair<double, double>> path;
    const auto stroke = [&] {
      // A lone point has no line to be seen by.
      if (path.size() == 1 && !s.markers)
        plot.canvas.marker(path[0].first, path[0].second, look.colour, look.shape, false, s.name);
      else
        plot.canvas.line(path, line_class(look.colour), look.dash, s.name);
      for (const auto& [x, y] : path) plot.canvas.occupy({x - 1, y - 1, 3, 3});
      path.clear();
    };
    for (const Point& p : s.points) {
      if (!drawable(p, options) || !inside(plot, p))
        stroke();
      else
        path.push_back({plot.x.at(p.x), plot.y.at(p.y)});
    }
    stroke();
    for (const Point& p : s.points) {
      if (!drawable(p, options) || !inside(plot, p)) continue;
      if (p.spread > 0)
        plot.canvas.error_bar(plot.x.at(p.x), plot.y.at(p.y - p.spread), plot.y.at(p.y + p.spread),
                              line_class(look.colour));
      if (s.markers)
        plot.canvas.marker(plot.x.at(p.x), plot.y.at(p.y), look.colour, look.shape, false, tooltip(s, p));
    }
  }
  draw_references(plot.canvas, options, plot.y, plot.area);
  draw_divisions(plot.canvas, options, plot.x, plot.area);
  labels(plot, series, options);
  return plot.canvas.finish();
}

}  // namespace rtfq::report
