#pragma once
// Small charts as SVG text, without scripts. Colours are CSS custom properties with a light and a dark set
// that colour-blind readers can tell apart; marker shapes and dashes say the same a second time.
//
//   ChartOptions options{.title = "Accuracy against cost", .x_label = "BitOPs an image", .y_label =
//   "accuracy, %"}; options.x_scale = Scale::log; options.pareto = true; write_file_atomically("plot.svg",
//   scatter_chart({{"8 bits", points8}, {"4 bits", points4}}, options));

#include <optional>
#include <string>
#include <vector>

#include "training/report/axis.h"

namespace rtfq::report {

struct Point {
  double x = 0, y = 0;
  double spread = 0;    ///< an error bar from y - spread to y + spread; 0: none
  std::string title{};  ///< tooltip
  std::string label{};  ///< written beside the point, where it hides least
};

struct Series {
  std::string name{};  ///< in the legend; empty: not in the legend
  std::vector<Point> points{};
  // Negative: by the position of the series. Several series may share a colour (a bit-width) and differ in
  // shape (a run).
  int colour = -1;       ///< 0 to colour_count - 1, taken modulo
  int shape = -1;        ///< of markers: 0 to shape_count - 1, taken modulo
  int dash = -1;         ///< of the line: 0 solid, 1 to 3 dashed, taken modulo
  int front = 0;         ///< scatter_chart: series of one number share a Pareto front
  bool markers = false;  ///< line_chart: also markers on the line
};

inline constexpr int colour_count = 7, shape_count = 6;

/// A horizontal line at a value, labelled in the plot.
struct Reference {
  std::string label{};
  double y = 0;
  int colour = -1;  ///< negative: the text's
};

/// A vertical line where something begins, labelled at its top.
struct Division {
  std::string label{};
  double x = 0;
};

enum class Form {
  inside,      ///< of a page that has chart_style() in its style sheet
  stand_alone  ///< a file of its own, with style and background
};

struct ChartOptions {
  std::string title{};
  std::string x_label{}, y_label{};  ///< with their units
  Scale x_scale = Scale::linear, y_scale = Scale::linear;
  std::optional<double> y_low{}, y_high{};  ///< else from the data
  std::vector<Reference> references{};
  std::vector<Division> divisions{};
  bool pareto = false;   ///< scatter_chart: a stepped line along the points that no cheaper one reaches, for
                         ///< each Series::front
  bool whole_x = false;  ///< ticks at integers only
  int width = 560, height = 360;  ///< units of the drawing; it scales to its place
  Form form = Form::inside;
};

/// Points; on a log axis those that are not above zero are left out, and so are values that are not finite.
/// With nothing to draw the chart says so.
std::string scatter_chart(const std::vector<Series>&, const ChartOptions&);
/// The points of a series joined in the order given; a value that is not finite is a gap.
std::string line_chart(const std::vector<Series>&, const ChartOptions&);

struct Bar {
  double value = 0;
  double spread = 0;    ///< as in Point
  std::string title{};  ///< tooltip; empty: made from the names and the value
};
/// One bar in every category, in their order; a value that is not finite is left out.
struct BarSeries {
  std::string name{};
  std::vector<Bar> bars{};
  int colour = -1;
};
/// Groups of bars, one group a category. The axis begins at zero unless y_low says otherwise.
std::string bar_chart(const std::vector<std::string>& categories, const std::vector<BarSeries>&,
                      const ChartOptions&);

/// A strip of touching bars from zero without axes, for table cells: `counts` of neighbouring bins, `title`
/// its tooltip. A bin that exceeds all others by far, as zero's does, is cut off at the top so that they can
/// be seen.
std::string histogram_strip(const std::vector<double>& counts, const std::string& title, int width = 160,
                            int height = 32);

/// A small line without axes, for table cells; scaled to its own extremes, values that are not finite are
/// left out.
std::string sparkline(const std::vector<double>& values, const std::string& title, int colour = 0,
                      int width = 120, int height = 24);

/// Indices of the points on the Pareto front (small x, large y), by ascending x. Of equal points the first.
std::vector<std::size_t> pareto_front(const std::vector<Point>&);

/// What charts of Form::inside need in the page's style sheet: custom properties (--c0.. the series, --ink,
/// --muted,
/// --grid, --surface) for light and, by prefers-color-scheme, dark; and the classes that they use.
std::string chart_style();

}  // namespace rtfq::report
