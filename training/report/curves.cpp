// How training went: losses by role, accuracy, rates, speed; step sizes over time.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "training/report/chart.h"
#include "training/report/page.h"
#include "training/report/report.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

constexpr std::size_t buckets = 160, spark_points = 60;
constexpr double missing = std::numeric_limits<double>::quiet_NaN();

using Value = std::function<double(const LoggedStep&)>;

/// Means of `value` over equal pieces of the log, none across the border of two phases.
std::vector<Point> curve(const std::vector<LoggedStep>& log, const Value& value) {
  const std::size_t each = (log.size() + buckets - 1) / buckets;
  std::vector<Point> out;
  for (std::size_t from = 0; from < log.size();) {
    std::size_t to = from;
    double sum = 0, steps = 0, count = 0;
    for (; to < log.size() && to < from + each && log[to].phase == log[from].phase; ++to) {
      const double v = value(log[to]);
      if (!std::isfinite(v)) continue;
      sum += v, steps += static_cast<double>(log[to].step), ++count;
    }
    if (count > 0)
      out.push_back({steps / count, sum / count});
    else
      out.push_back({static_cast<double>(log[from].step), missing});
    from = to;
  }
  return out;
}

std::vector<Division> phases(const RunData& run) {
  static const std::map<std::string, std::string> names{
      {"float", "full precision"}, {"source", "quantized"}, {"adapt", "adapting"}};
  std::vector<Division> out;
  std::string phase;
  for (const LoggedStep& entry : run.log) {
    if (entry.phase != phase && !(phase.empty() && entry.phase == "float")) {
      const auto known = names.find(entry.phase);
      out.push_back({known == names.end() ? entry.phase : known->second, static_cast<double>(entry.step)});
    }
    phase = entry.phase;
  }
  return out;
}

ChartOptions options_of(const RunData& run, const std::string& title, const std::string& y_label) {
  ChartOptions options;
  options.title = title;
  options.x_label = "step";
  options.y_label = y_label;
  options.whole_x = true;
  options.width = page_chart_width;
  options.height = 260;
  options.divisions = phases(run);
  return options;
}

bool has_values(const Series& series) {
  return std::any_of(series.points.begin(), series.points.end(),
                     [](const Point& p) { return std::isfinite(p.y); });
}

double term(const Terms& terms, const std::string& name) {
  const auto found = terms.find(name);
  return found == terms.end() ? missing : found->second;
}

struct TermText {
  const char *name, *title, *unit;
};
constexpr std::array<TermText, 6> term_texts{
    {{"source", "Source: cross entropy", "nats, labels smoothed"},
     {"information", "Information maximization on the target", "nats; lower: surer and more varied"},
     {"confusion", "Class confusion on the target", "mean over classes; lower: less mixed up"},
     {"distillation", "Distillation from the teacher", "cross entropy, nats"},
     {"pseudo_label", "Confident pseudo-labels", "cross entropy, nats"},
     {"joint", "Lower bit-width learning from the higher", "cross entropy, nats"}}};

TermText text_of(const std::string& name) {
  for (const TermText& text : term_texts)
    if (name == text.name) return text;
  return {name.c_str(), name.c_str(), "unweighted"};
}

std::string loss_chart(const RunData& run, const std::string& name) {
  static const std::array<std::pair<const char*, const char*>, 4> roles{{{"largest", "largest subnet"},
                                                                         {"random", "random, higher bits"},
                                                                         {"paired", "the same at lower bits"},
                                                                         {"smallest", "smallest subnet"}}};
  const TermText text = text_of(name);
  std::vector<Series> series;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const std::string role = roles[i].first;
    Series s;
    s.name = roles[i].second;
    s.colour = static_cast<int>(i);
    s.dash = static_cast<int>(i) % 2;
    s.points = curve(run.log, [&](const LoggedStep& entry) {
      const auto of_role = entry.roles.find(role);
      return of_role == entry.roles.end() ? missing : term(of_role->second, name);
    });
    if (has_values(s)) series.push_back(s);
  }
  if (series.empty())  // a log of before roles were written
    series.push_back(
        {"mean over all passes", curve(run.log, [&](const LoggedStep& e) { return term(e.terms, name); })});
  return line_chart(series, options_of(run, text.title, text.unit));
}

std::string single_chart(const RunData& run, const std::string& title, const std::string& unit,
                         const Value& value, Scale scale = Scale::linear) {
  ChartOptions options = options_of(run, title, unit);
  options.y_scale = scale;
  const Series series{"", curve(run.log, value)};
  return has_values(series) ? line_chart({series}, options) : "";
}

/// Of the sizes over the first one, per entry of the log: the median over all quantizers of a kind and
/// bit-width.
Series median_change(const std::vector<const StepSizes*>& all, const std::string& name, int colour,
                     int dash) {
  std::map<double, std::vector<double>> ratios;
  for (const StepSizes* s : all)
    for (std::size_t i = 0; i < s->sizes.size(); ++i)
      if (s->sizes.front() > 0) ratios[s->steps[i]].push_back(s->sizes[i] / s->sizes.front());
  Series out;
  out.name = name;
  out.colour = colour;
  out.dash = dash;
  for (auto& [step, values] : ratios) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    out.points.push_back({step, *middle});
  }
  return out;
}

}  // namespace

std::string curves_section(const RunData& run, bool open) {
  if (run.log.empty()) return "";
  std::set<std::string> terms;
  for (const LoggedStep& entry : run.log)
    for (const auto& [name, value] : entry.terms) terms.insert(name);
  std::vector<std::string> all;
  for (const TermText& text : term_texts)
    if (terms.erase(text.name)) all.push_back(loss_chart(run, text.name));
  for (const std::string& other : terms) all.push_back(loss_chart(run, other));
  all.push_back(single_chart(run, "Whole loss", "weighted sum over all passes",
                             [](const LoggedStep& e) { return e.loss; }));
  all.push_back(single_chart(run, "Largest subnet on the source's batches", "accuracy, %",
                             [](const LoggedStep& e) { return e.source_accuracy; }));
  all.push_back(single_chart(run, "Learning rate", "of the backbone",
                             [](const LoggedStep& e) { return e.learning_rate; }));
  all.push_back(single_chart(
      run, "Gradient norm", "before clipping, step sizes left out",
      [](const LoggedStep& e) { return e.gradient_norm; }, Scale::log));
  all.push_back(single_chart(run, "Speed", "images a second",
                             [](const LoggedStep& e) { return e.images / e.seconds; }));
  all.push_back(single_chart(run, "Waiting for images", "% of a step's time",
                             [](const LoggedStep& e) { return 100 * e.wait_seconds / e.seconds; }));
  std::erase(all, std::string());
  return folded("Training of " + run.name, charts(all), open);
}

std::string step_size_section(const RunData& run, bool open) {
  if (run.step_sizes.empty()) return "";
  std::map<int, std::array<std::vector<const StepSizes*>, 2>, std::greater<>>
      groups;  // by bits; weights, activations
  for (const StepSizes& s : run.step_sizes) groups[s.bits][s.weight ? 0 : 1].push_back(&s);
  std::vector<Series> series;
  int colour = 0;
  for (const auto& [bits, kinds] : groups) {
    for (const int kind : {0, 1})
      if (!kinds[static_cast<std::size_t>(kind)].empty())
        series.push_back(median_change(
            kinds[static_cast<std::size_t>(kind)],
            std::string(kind ? "activations" : "weights") + ", " + std::to_string(bits) + " bits", colour,
            kind));
    ++colour;
  }
  ChartOptions options = options_of(run, "Step sizes over time", "median of step size over its first value");
  options.height = 300;
  std::vector<std::vector<Cell>> rows;
  for (const StepSizes& s : run.step_sizes) {
    const double ratio = s.sizes.back() / s.sizes.front();
    std::vector<double> logs;
    const std::size_t every = (s.sizes.size() + spark_points - 1) / spark_points;
    for (std::size_t i = 0; i < s.sizes.size(); i += every) logs.push_back(std::log(s.sizes[i]));
    const std::string change = rounded(s.sizes.front()) + " to " + rounded(s.sizes.back());
    rows.push_back(
        {{s.name},
         {sparkline(logs, s.name + " at " + std::to_string(s.bits) + " bits: step size from " + change),
          false, true},
         {s.weight ? "weights" : "activations"},
         {std::to_string(s.bits), true},
         {rounded(s.sizes.front()), true},
         {rounded(s.sizes.back()), true},
         {"× " + fixed(ratio, 2), true}});
  }
  const std::string one = table({{"quantizer"},
                                 {"over time (log scale)"},
                                 {"of"},
                                 {"bits", true},
                                 {"first step size", true},
                                 {"last", true},
                                 {"change", true}},
                                rows);
  return folded("Step sizes of " + run.name,
                charts({line_chart(series, options)}) +
                    folded("Every quantizer (" + std::to_string(rows.size()) + " step sizes)", one),
                open);
}

}  // namespace rtfq::report
