// The charts of reports: what is drawn, where, and that it is well-formed.
#include "training/report/chart.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/support/markup.h"
#include "training/report/text.h"

using namespace rtfq::report;
using rtfq::test::count_of;
using rtfq::test::require_well_formed;

namespace {

const double nan_value = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> out;
  for (const Tick& tick : ticks) out.push_back(tick.label);
  return out;
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("ticks are round numbers with one precision", "[report]") {
  CHECK(labels(round_ticks(0, 1, Scale::linear, 5)) == Strings{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels(round_ticks(97.6, 98.9, Scale::linear, 6)) ==
        Strings{"97.75", "98.00", "98.25", "98.50", "98.75"});
  CHECK(labels(round_ticks(0, 45000, Scale::linear, 5)) == Strings{"0", "10K", "20K", "30K", "40K"});
  CHECK(labels(round_ticks(0, 2e-4, Scale::linear, 4)) ==
        Strings{"0", "5×10⁻⁵", "1×10⁻⁴", "1.5×10⁻⁴", "2×10⁻⁴"});
  CHECK(labels(round_ticks(-7, 3, Scale::linear, 3)) == Strings{"-5", "0"});
  CHECK(labels(round_ticks(0, 3, Scale::linear, 10, true)) == Strings{"0", "1", "2", "3"});
  CHECK(labels(round_ticks(3e6, 4e8, Scale::log, 7)) == Strings{"5M", "10M", "20M", "50M", "100M", "200M"});
  CHECK(labels(round_ticks(4.5e7, 2e9, Scale::log, 5)) == Strings{"50M", "100M", "200M", "500M", "1G", "2G"});
  CHECK(labels(round_ticks(1e-5, 10, Scale::log, 8)) ==
        Strings{"1×10⁻⁵", "1×10⁻⁴", "0.001", "0.01", "0.1", "1", "10"});
  CHECK(round_ticks(1, 1, Scale::linear, 5).empty());
  // Half a decade and less: round numbers rather than one power of ten.
  CHECK(round_ticks(1.1e7, 1.9e7, Scale::log, 5).size() >= 3);
}

TEST_CASE("an axis puts values on pixels", "[report]") {
  const Axis y(0, 10, Scale::linear, 300, 100);
  CHECK(y.at(0) == Approx(300));
  CHECK(y.at(10) == Approx(100));
  CHECK(y.at(2.5) == Approx(250));
  const Axis x(1, 10000, Scale::log, 0, 400);
  CHECK(x.at(100) == Approx(200));
  const Axis flat(5, 5, Scale::linear, 0, 100);
  CHECK(flat.at(5) == Approx(50));
}

TEST_CASE("the Pareto front keeps what nothing cheaper reaches", "[report]") {
  const std::vector<Point> points{{3, 90}, {1, 80}, {2, 85}, {2, 86}, {4, 90}, {5, 95}, {0.5, 70}, {2, 86}};
  CHECK(pareto_front(points) == std::vector<std::size_t>{6, 1, 3, 0, 5});
  CHECK(pareto_front({}).empty());
}

TEST_CASE("a scatter chart marks every point and says what it is", "[report]") {
  ChartOptions options{.title = "Accuracy <against> cost", .x_label = "BitOPs", .y_label = "accuracy, %"};
  options.x_scale = Scale::log;
  options.pareto = true;
  options.references = {{"source only 75.1 %", 75.1, 1}};
  const std::vector<Series> series{
      {"8 bits", {{1e8, 90, 0, "first & best", "best"}, {2e8, 91, 0.5}, {0, 50}, {3e8, nan_value}}},
      {"4 bits", {{5e7, 89}, {9e7, 85}}}};
  const std::string svg = scatter_chart(series, options);
  require_well_formed(svg);
  // Four points that can be drawn, two legend entries; zero has no place on a log axis.
  CHECK(count_of(svg, "class=\"mark c0") == 3);
  CHECK(count_of(svg, "class=\"mark c1") == 3);
  CHECK(count_of(svg, " faint") == 1);  // the one point that is off the front
  CHECK(count_of(svg, "class=\"error") == 1);
  CHECK(count_of(svg, "line front") == 1);
  CHECK(svg.find("<title>first &amp; best</title>") != svg.npos);
  CHECK(svg.find("<title>4 bits: 5×10⁷, 89.0</title>") != svg.npos);
  CHECK(svg.find("Accuracy &lt;against&gt; cost") != svg.npos);
  CHECK(svg.find("source only 75.1 %</text>") != svg.npos);
  CHECK(svg.find("<style>") == svg.npos);

  options.form = Form::stand_alone;
  const std::string file = scatter_chart(series, options);
  require_well_formed(file);
  CHECK(count_of(file, "<style>") == 1);
  CHECK(file.find("prefers-color-scheme:dark") != file.npos);
  CHECK(file.find("<script") == file.npos);
}

TEST_CASE("a line chart breaks at what is not a number", "[report]") {
  const std::vector<Series> series{
      {"loss", {{1, 2}, {2, 1}, {3, nan_value}, {4, 0.5}, {5, 0.25}, {6, INFINITY}, {7, 1}}}};
  const std::string svg = line_chart(series, {.title = "Loss", .x_label = "step"});
  require_well_formed(svg);
  CHECK(count_of(svg, "<title>loss</title>") == 3);  // two strokes and a lone point
  CHECK(svg.find("nan") == svg.npos);
  CHECK(svg.find("inf") == svg.npos);
}

TEST_CASE("charts with nothing to draw say so", "[report]") {
  for (const std::string& svg : {scatter_chart({}, {}), line_chart({{"a", {{1, nan_value}}}}, {}),
                                 bar_chart({}, {}, {}), bar_chart({"a"}, {{"s", {{nan_value}}}}, {})}) {
    require_well_formed(svg);
    CHECK(svg.find("no data") != svg.npos);
  }
}

TEST_CASE("bars stand on zero and carry spreads", "[report]") {
  const std::string svg =
      bar_chart({"m2u", "u2m"}, {{"rtfq", {{97, 0.4}, {98}}}, {"alone", {{96}, {nan_value}}}},
                {.title = "Mean accuracy", .y_label = "%"});
  require_well_formed(svg);
  CHECK(count_of(svg, "<rect class=\"c0\"") == 3);  // two bars and the legend's box
  CHECK(count_of(svg, "<rect class=\"c1\"") == 2);
  CHECK(svg.find("<title>m2u, rtfq: 97.0 ± 0.400</title>") != svg.npos);
  CHECK(svg.find(">0</text>") != svg.npos);
  const Strings long_names{"clipart to painting", "clipart to real",    "painting to sketch",
                           "real to clipart",     "sketch to painting", "sketch to clipart"};
  const std::string slanted = bar_chart(long_names, {{"", {{1}, {2}, {3}, {4}, {5}, {6}}}}, {});
  require_well_formed(slanted);
  CHECK(count_of(slanted, "rotate(-40") == 6);
}

TEST_CASE("a strip has a bar for every bin that is not empty", "[report]") {
  const std::string svg = histogram_strip({0, 5, 10, 0, 1}, "codes", 100, 20);
  require_well_formed(svg);
  CHECK(count_of(svg, "M") == 4);  // three bars and the base line
  require_well_formed(histogram_strip({}, "empty"));
}

namespace {

using Colour = std::array<double, 3>;

double linear(double c) {
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}

/// Linear RGB of each custom property --c0, --c1, ... from `at` on.
std::vector<Colour> palette(const std::string& style, std::size_t at) {
  std::vector<Colour> out;
  for (int i = 0; i < colour_count; ++i) {
    at = style.find("--c" + std::to_string(i) + ":#", at) + 6;
    Colour colour;
    for (std::size_t k = 0; k < 3; ++k)
      colour[k] = linear(std::stoi(style.substr(at + 2 * k, 2), nullptr, 16) / 255.0);
    out.push_back(colour);
  }
  return out;
}

Colour lab(const Colour& c) {
  const auto f = [](double t) { return t > 0.008856 ? std::cbrt(t) : 7.787 * t + 16.0 / 116; };
  const double x = f((0.4124 * c[0] + 0.3576 * c[1] + 0.1805 * c[2]) / 0.9505);
  const double y = f(0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]);
  const double z = f((0.0193 * c[0] + 0.1192 * c[1] + 0.9505 * c[2]) / 1.089);
  return {116 * y - 16, 500 * (x - y), 200 * (y - z)};
}

}  // namespace

TEST_CASE("the series' colours stay apart for colour-blind readers", "[report]") {
  // Machado, Oliveira and Fernandes 2009, severity 1: normal, protan-, deuteran-, tritanopia.
  const std::vector<std::array<Colour, 3>> eyes{
      {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
      {{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}},
      {{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}},
      {{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}}};
  const std::string style = chart_style();
  for (const std::size_t at : {std::size_t{0}, style.find("prefers-color-scheme:dark")}) {
    const auto colours = palette(style, at);
    for (const auto& eye : eyes) {
      std::vector<Colour> seen;
      for (const Colour& c : colours) {
        Colour out;
        for (std::size_t i = 0; i < 3; ++i)
          out[i] = std::clamp(eye[i][0] * c[0] + eye[i][1] * c[1] + eye[i][2] * c[2], 0.0, 1.0);
        seen.push_back(lab(out));
      }
      for (std::size_t i = 0; i < seen.size(); ++i)
        for (std::size_t k = 0; k < i; ++k) {
          INFO("colours " << k << " and " << i << ", scheme at " << at);
          const double apart =
              std::hypot(seen[i][0] - seen[k][0], seen[i][1] - seen[k][1], seen[i][2] - seen[k][2]);
          CHECK(apart > (i < 4 ? 21 : 14));
        }
    }
  }
}

TEST_CASE("numbers are rounded for people", "[report]") {
  CHECK(rounded(0) == "0");
  CHECK(rounded(3.14159) == "3.14");
  CHECK(rounded(99.996) == "100.0");
  CHECK(rounded(0.012345) == "0.0123");
  CHECK(rounded(9.99e-6) == "1×10⁻⁵");
  CHECK(rounded(-2.5e7) == "-2.5×10⁷");
  CHECK(fixed(-0.001, 1) == "0.0");
  CHECK(quantity(999.6) == "1.00K");
  CHECK(bytes(92228) == "92.2 KB");
  CHECK(bytes(12) == "12 B");
  CHECK(whole(1234567) == "1\u202F234\u202F567");
  CHECK(whole(-123) == "-123");
  CHECK(whole(-1234) == "-1\u202F234");
  CHECK(duration(3.21) == "3.2 s");
  CHECK(duration(59.6) == "1 min 0 s");
  CHECK(duration(7620) == "2 h 7 min");
}

TEST_CASE("text is made safe for markup", "[report]") {
  CHECK(escape("<a href=\"x\">'&'") == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
  CHECK(escape("naïve – 漢字 😀") == "naïve – 漢字 😀");
  CHECK(escape(std::string("a\x01z\xFF\xC0\xAF", 6)) == "a\uFFFDz\uFFFD\uFFFD\uFFFD");
  CHECK(escape("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");  // a surrogate
}
