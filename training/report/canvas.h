#pragma once
// What every chart is drawn with: SVG text that grows from a frame of title, legend and axes.

#include <string>
#include <utility>
#include <vector>

#include "training/report/chart.h"

namespace rtfq::report {

/// Pixels, from the top left corner.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

/// Pixels that `text` takes at `size` pixels: rather too many than too few.
double text_width(const std::string& text, double size);

struct LegendEntry {
  enum class Kind { line, marker, line_and_marker, box };
  std::string name;
  Kind kind = Kind::line;
  int colour = 0, shape = 0, dash = 0;
};

enum class Anchor { start, middle, end };

inline constexpr double text_size = 13;

class Canvas {
 public:
  /// Draws the title and the legend; entries without a name are left out.
  Canvas(const ChartOptions&, const std::vector<LegendEntry>&);

  /// Lays out the plot's area beside `y_labels`, at least `least_left` from the edge and above `bottom`
  /// pixels of labels, and draws the axes' titles.
  Box layout(const std::vector<Tick>& y_labels, double bottom, double least_left = 0);
  void grid(const std::vector<Tick>& y_ticks, const Axis& y);
  void x_ticks(const std::vector<Tick>&, const Axis& x);

  void line(const std::vector<std::pair<double, double>>&, const std::string& css_class, int dash,
            const std::string& title);
  void marker(double x, double y, int colour, int shape, bool faint, const std::string& title);
  void error_bar(double x, double low, double high, const std::string& css_class);
  void bar(const Box&, int colour, const std::string& title);
  void text(double x, double y, const std::string& text, Anchor, const std::string& css_class,
            const std::string& more = "");

  /// Labels avoid what is occupied, and then occupy their own place. `places` are the boxes where this one
  /// may be; when even the best is more than half hidden it is written only if it must.
  void occupy(const Box& box) { taken_.push_back(box); }
  void label(const std::string& text, const std::vector<Box>& places, const std::string& css_class,
             bool must);

  std::string finish() const;

 private:
  ChartOptions options_;
  std::string body_;
  double top_ = 0;  ///< below title and legend
  Box plot_;
  std::vector<Box> taken_;
};

/// The reference lines of a chart, each with its label where it hides least.
void draw_references(Canvas&, const ChartOptions&, const Axis& y, const Box& plot);

/// The same for the divisions of x.
void draw_divisions(Canvas&, const ChartOptions&, const Axis& x, const Box& plot);

/// Classes "c3" (fill) and "l3" (stroke) of a series' colour.
std::string fill_class(int colour);
std::string line_class(int colour);

}  // namespace rtfq::report
