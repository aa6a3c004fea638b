// Accuracy against cost, and the table of all subnets.
#include <algorithm>
#include <cmath>
#include <set>

#include "training/report/chart.h"
#include "training/report/page.h"
#include "training/report/report.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

std::string bits_name(int bits) {
  return bits == float_bits ? "full precision" : std::to_string(bits) + " bits";
}

std::string tooltip(const std::string& run, const SubnetScore& s) {
  return (run.empty() ? "" : run + ": ") + id(s.subnet) + "\n" + fixed(*s.accuracy, 2) +
         " % on the target\n" + quantity(static_cast<double>(s.cost.macs)) + " MACs, " +
         quantity(static_cast<double>(s.cost.bitops)) + " BitOPs, " +
         bytes(static_cast<double>(s.cost.bytes));
}

/// Series of the banks' subnets: of one run a colour for each bit-width, of several one for each run.
std::vector<Series> series_of(const std::vector<const RunData*>& banks, int64_t SubnetCost::*cost) {
  std::vector<Series> out;
  const bool several = banks.size() > 1;
  std::set<int, std::greater<>> widths;
  for (const RunData* run : banks)
    for (const SubnetScore& s : run->scores) widths.insert(s.subnet.bits);
  for (std::size_t r = 0; r < banks.size(); ++r) {
    int position = 0;
    for (const int bits : widths) {
      Series series;
      series.name = (several ? banks[r]->name + ", " : "") + bits_name(bits);
      series.colour = several ? static_cast<int>(r) : position;
      series.shape = position++;
      series.front = static_cast<int>(r);
      for (const SubnetScore& s : banks[r]->scores)
        if (s.subnet.bits == bits && s.accuracy)
          series.points.push_back(
              {static_cast<double>(s.cost.*cost), *s.accuracy, 0, tooltip(several ? banks[r]->name : "", s)});
      if (!series.points.empty()) out.push_back(series);
    }
  }
  return out;
}

std::string cost_chart(const ReportInput& input, const std::vector<const RunData*>& banks,
                       const std::string& what, const std::string& x_label, int64_t SubnetCost::*cost) {
  ChartOptions options;
  options.title = "Accuracy against " + what;
  options.x_label = x_label;
  options.y_label = "accuracy on the target, %";
  options.x_scale = Scale::log;
  options.pareto = true;
  options.width = page_chart_width;
  options.height = 320;
  std::size_t source_only = 0;
  for (const RunData& run : input.runs) source_only += run.source_only();
  for (const RunData& run : input.runs)
    if (run.source_only() && !run.scores.empty() && run.scores.front().accuracy)
      options.references.push_back({(source_only > 1 ? run.name : "source only") + ", " +
                                        fixed(*run.scores.front().accuracy, 1) + " %",
                                    *run.scores.front().accuracy});
  return scatter_chart(series_of(banks, cost), options);
}

bool has_accuracies(const RunData& run) {
  return std::any_of(run.scores.begin(), run.scores.end(),
                     [](const SubnetScore& s) { return s.accuracy.has_value(); });
}

std::string percent(const std::optional<double>& value) {
  return value ? fixed(*value, 2) : "–";
}

}  // namespace

std::string accuracy_section(const ReportInput& input) {
  std::vector<const RunData*> banks;
  for (const RunData& run : input.runs)
    if (!run.source_only() && has_accuracies(run)) banks.push_back(&run);
  if (banks.empty()) return "";
  std::string out = paragraph(
      "Every marker is a subnet of the same trained weights. The stepped line is the Pareto front, the best "
      "accuracy "
      "within a budget; subnets that a cheaper one equals or beats are faint.");
  return section(
      "Accuracy against cost",
      out +
          charts({cost_chart(input, banks, "BitOPs", "BitOPs an image", &SubnetCost::bitops),
                  cost_chart(input, banks, "MACs", "multiply-accumulates (MACs) an image", &SubnetCost::macs),
                  cost_chart(input, banks, "size", "bytes of packed weights", &SubnetCost::bytes)}));
}

std::string subnet_table(const RunData& run) {
  if (run.scores.empty()) return "";
  std::vector<Point> points;
  for (const SubnetScore& s : run.scores)
    points.push_back({static_cast<double>(s.cost.bitops), s.accuracy.value_or(0)});
  std::vector<std::size_t> front = has_accuracies(run) ? pareto_front(points) : std::vector<std::size_t>();
  std::vector<std::vector<Cell>> rows;
  for (const SubnetScore& s : run.scores) {
    const auto n = [](const std::string& text) { return Cell{text, true, false}; };
    const auto about = [&](int64_t value) { return n(quantity(static_cast<double>(value))); };
    rows.push_back({{id(s.subnet)},
                    n(shortest(s.subnet.width)),
                    n(shortest(s.subnet.depth)),
                    n(std::to_string(s.subnet.resolution)),
                    n(s.subnet.bits == float_bits ? "float" : std::to_string(s.subnet.bits)),
                    about(s.cost.params),
                    n(bytes(static_cast<double>(s.cost.bytes))),
                    about(s.cost.macs),
                    about(s.cost.bitops),
                    n(percent(s.accuracy)),
                    n(percent(s.source_accuracy))});
  }
  const auto head = [](const char* text) { return Cell{text, true, false}; };
  return table({{"subnet"},
                head("width"),
                head("depth"),
                head("pixels"),
                head("bits"),
                head("parameters"),
                head("size"),
                head("MACs"),
                head("BitOPs"),
                head("target, %"),
                head("source, %")},
               rows, front);
}

}  // namespace rtfq::report
