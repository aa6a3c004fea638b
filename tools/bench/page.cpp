#include "tools/bench/page.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tools/bench/statistics.h"
#include "tools/bench/timing.h"
#include "training/report/chart.h"
#include "training/report/page.h"
#include "training/report/text.h"

namespace rtfq::lab {
namespace {

using report::Cell;
using report::rounded;

Cell number(const std::string& text) {
  return {text, true};
}

std::string percent(double share) {
  return std::isnan(share) ? "-" : report::fixed(100 * share, 0) + " %";
}

/// Which file and implementation a series of a chart is.
struct Side {
  const NamedResults* file;
  std::string implementation, device;
  std::string name(bool several_files) const {
    std::string text = implementation + (device == "cpu" ? "" : " on " + device);
    return several_files ? text + ", " + file->name : text;
  }
};

std::vector<Side> sides_of(const std::vector<NamedResults>& files, const std::string& op) {
  std::vector<Side> sides;
  for (const NamedResults& file : files)
    for (const Row& row : file.results.rows) {
      if (row.item.op != op || row.seconds.empty()) continue;
      const bool there = std::any_of(sides.begin(), sides.end(), [&](const Side& s) {
        return s.file == &file && s.implementation == row.item.implementation && s.device == row.item.device;
      });
      if (!there) sides.push_back({&file, row.item.implementation, row.item.device});
    }
  return sides;
}

std::vector<std::string> ops_of(const std::vector<NamedResults>& files) {
  std::vector<std::string> ops;
  for (const NamedResults& file : files)
    for (const Row& row : file.results.rows)
      if (std::find(ops.begin(), ops.end(), row.item.op) == ops.end()) ops.push_back(row.item.op);
  return ops;
}

/// Operations a second over operations a byte, with the two ceilings of the machine.
std::string roofline(const NamedResults& file) {
  const Machine& m = file.results.machine;
  if (!(m.copy() > 0)) return "";
  std::vector<report::Series> series;
  double least = 0.1, most = 10;
  for (const std::string& op : ops_of({file})) {
    report::Series points{.name = op};
    for (const Row& row : file.results.rows) {
      if (row.item.op != op || row.seconds.empty() || row.item.device == "simt" || !(row.cost.operations > 0))
        continue;
      const double intensity = row.cost.operations / row.cost.bytes;
      least = std::min(least, intensity / 2);
      most = std::max(most, intensity * 2);
      points.points.push_back({intensity, row.cost.operations / row.median() / 1e9, 0,
                               row.item.name() + ": " + time_text(row.median()) + ", " +
                                   percent(roofline_share(row, m)) + " of the roofline"});
    }
    if (!points.points.empty()) series.push_back(std::move(points));
  }
  if (series.empty()) return "";
  report::Series roof{.name = "ceiling in f32"};
  roof.colour = report::colour_count - 1;
  roof.shape = 0;
  const double ridge = m.f32 / m.copy();
  for (int i = 0; i <= 60; ++i) {
    const double x = least * std::pow(std::max(most, 2 * ridge) / least, i / 60.0);
    roof.points.push_back({x, std::min(x * m.copy(), m.f32) / 1e9, 0, ""});
  }
  series.push_back(std::move(roof));
  return report::scatter_chart(series, {.title = "Roofline, " + file.name,
                                        .x_label = "operations a byte",
                                        .y_label = "Gop/s",
                                        .x_scale = report::Scale::log,
                                        .y_scale = report::Scale::log,
                                        .width = report::page_chart_width,
                                        .height = 360});
}

/// Bars of one operator: share of the roofline by case where there is one, else milliseconds.
std::string bars(const std::vector<NamedResults>& files, const std::string& op) {
  const auto sides = sides_of(files, op);
  std::vector<std::string> cases;
  for (const NamedResults& file : files)
    for (const Row& row : file.results.rows)
      if (row.item.op == op && !row.seconds.empty() &&
          std::find(cases.begin(), cases.end(), row.item.case_text()) == cases.end())
        cases.push_back(row.item.case_text());
  if (cases.empty()) return "";
  constexpr std::size_t shown = 8;
  const bool cut = cases.size() > shown;
  if (cut) cases.resize(shown);
  std::vector<report::BarSeries> series;
  for (const Side& side : sides) {
    report::BarSeries one{.name = side.name(files.size() > 1)};
    for (const std::string& name : cases) {
      report::Bar bar{.value = std::nan("")};
      for (const Row& row : side.file->results.rows)
        if (row.item.op == op && row.item.case_text() == name &&
            row.item.implementation == side.implementation && row.item.device == side.device &&
            !row.seconds.empty()) {
          const double gb = row.cost.bytes / row.median() / 1e9;
          bar = {gb, gb * spread(row.seconds) / 2,
                 name + ", " + one.name + ": " + time_text(row.median()) + ", " + rounded(gb) + " GB/s"};
        }
      one.bars.push_back(bar);
    }
    series.push_back(std::move(one));
  }
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < cases.size(); ++i)
    labels.push_back(cases.size() == 1 ? cases[i] : std::to_string(i + 1));
  report::ChartOptions options{.title = op + (cut ? " (first 8 cases)" : ""),
                               .y_label = "GB/s, declared bytes",
                               .width = report::page_chart_width,
                               .height = 300};
  if (const Machine& m = files.front().results.machine; m.copy() > 0)
    options.references.push_back({"memory", m.copy() / 1e9});
  std::string html = report::bar_chart(labels, series, options);
  if (cases.size() > 1) {
    std::string list;
    for (std::size_t i = 0; i < cases.size(); ++i)
      list += (i ? "; " : "") + std::to_string(i + 1) + ": " + cases[i];
    html += "<p class=\"muted\">" + report::escape(list) + "</p>";
  }
  return html;
}

std::string rows_table(const NamedResults& file) {
  std::vector<Cell> head{{"operator"},       {"case"},         {"by"},         {"verdict"},
                         number("median"),   number("spread"), number("GB/s"), number("Gop/s"),
                         number("roofline"), {"where"}};
  std::vector<std::vector<Cell>> rows;
  for (const Row& row : file.results.rows) {
    std::string verdict = to_string(row.outcome);
    if (row.near_ties) verdict += " (" + std::to_string(row.near_ties) + ")";
    std::vector<Cell> line{
        {row.item.op},
        {row.item.case_text()},
        {row.item.implementation + (row.item.device == "cpu" ? "" : " on " + row.item.device)},
        {verdict}};
    if (row.seconds.empty()) {
      line.insert(line.end(), 5, number("-"));
      line.push_back({row.message.substr(0, 160)});
    } else {
      const double median = row.median();
      line.push_back(number(time_text(median)));
      line.push_back(number(report::fixed(100 * spread(row.seconds), 1) + " %"));
      line.push_back(number(report::fixed(row.cost.bytes / median / 1e9, 1)));
      line.push_back(number(report::fixed(row.cost.operations / median / 1e9, 1)));
      line.push_back(number(percent(roofline_share(row, file.results.machine)) +
                            (in_cache(row, file.results.machine) ? ", in cache" : "")));
      line.push_back({row.item.where.substr(0, 80)});
    }
    rows.push_back(std::move(line));
  }
  return report::table(head, rows);
}

std::string facts(const NamedResults& file) {
  const Results& r = file.results;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const char* name : {"cpu", "threads", "commit", "version", "date"})
    if (r.environment.count(name)) pairs.emplace_back(name, r.environment.at(name));
  const auto giga = [](double value) { return value > 0 ? rounded(value / 1e9) : std::string("none"); };
  if (r.machine.copy() > 0) {
    pairs.emplace_back("ceilings", r.machine.memory_text() + ", measured " + r.machine.date);
    pairs.emplace_back("arithmetic", "f32 " + giga(r.machine.f32) + ", bf16 " + giga(r.machine.bf16) +
                                         ", int8 " + giga(r.machine.int8) +
                                         " Gop/s (oneDNN's matrix product)");
  }
  pairs.emplace_back("command", r.command);
  return report::facts(pairs);
}

/// New over old, where two files have the same rows.
std::string side_by_side(const std::vector<NamedResults>& files) {
  if (files.size() != 2) return "";
  std::vector<std::vector<Cell>> rows;
  for (const Row& a : files[0].results.rows)
    for (const Row& b : files[1].results.rows)
      if (a.item.name() == b.item.name() && !a.seconds.empty() && !b.seconds.empty()) {
        const bool apart = !median_interval(a.seconds, 0.99).overlaps(median_interval(b.seconds, 0.99));
        rows.push_back({{a.item.name()},
                        number(time_text(a.median())),
                        number(time_text(b.median())),
                        number(report::fixed(b.median() / a.median(), 3)),
                        {apart ? "" : "within the noise"}});
      }
  if (rows.empty()) return "";
  return report::section(
      "Side by side",
      report::table({{"row"}, number(files[0].name), number(files[1].name), number("ratio"), {""}}, rows));
}

}  // namespace

std::string results_page(const std::vector<NamedResults>& files) {
  std::size_t rows = 0, right = 0;
  for (const NamedResults& file : files)
    for (const Row& row : file.results.rows) {
      ++rows;
      right += usable(row.outcome);
    }
  std::string html = "<h1>Kernels</h1>\n";
  std::vector<report::Tile> tiles{{std::to_string(rows), "rows"}, {std::to_string(right), "of them right"}};
  for (const NamedResults& file : files)
    if (file.results.machine.copy() > 0)
      tiles.push_back({rounded(file.results.machine.copy() / 1e9) + " GB/s", "memory, " + file.name});
  html += report::tiles(tiles);
  std::vector<std::string> wrong;
  for (const NamedResults& file : files)
    for (const Row& row : file.results.rows)
      if (!usable(row.outcome) && row.outcome != Outcome::skipped)
        wrong.push_back(row.item.name() + ": " + to_string(row.outcome) + ": " + row.message);
  html += report::notes("warning", wrong);
  std::vector<std::string> charts;
  for (const NamedResults& file : files)
    if (const std::string chart = roofline(file); !chart.empty()) charts.push_back(chart);
  if (!charts.empty())
    html += report::section(
        "Roofline",
        report::paragraph("Each mark is a kernel on a shape. The rising line is what memory allows, "
                          "the level one what arithmetic does; kernels whose operands lie in "
                          "the caches may be above the rising one.") +
            report::charts(charts));
  charts.clear();
  for (const std::string& op : ops_of(files))
    if (const std::string chart = bars(files, op); !chart.empty()) charts.push_back(chart);
  html += report::section("By operator", report::charts(charts));
  html += side_by_side(files);
  for (const NamedResults& file : files)
    html += report::section("All rows of " + file.name, rows_table(file));
  for (const NamedResults& file : files)
    html += report::section("How " + file.name + " was measured", facts(file));
  return report::document("Kernels", html, 0);
}

std::string results_markdown(const Results& results) {
  const auto& env = results.environment;
  const Machine& m = results.machine;
  const auto giga = [](double value) { return value > 0 ? rounded(value / 1e9) : std::string("none"); };
  const bool gpu = m.threads == 0;
  std::string text = "# Kernels on " + (gpu ? m.cpu : std::string("the CPU")) +
                     "\n\nGenerated by `rtfq-bench report --markdown` from `" + results.command +
                     "`; not edited.\n\n";
  text += "- " + (gpu ? m.cpu + " beside " : "") + env.at("cpu") + ", " + env.at("threads") +
          " threads, commit " + env.at("commit") + ", " + env.at("date") + "\n";
  text += "- " + m.memory_text() + "; arithmetic: f32 " + giga(m.f32) + ", bf16 " + giga(m.bf16) + ", int8 " +
          giga(m.int8) + " Gop/s" + (gpu ? " by " + m.by : "") + "; measured " + m.date + "\n";
  text +=
      "- floor: declared bytes at the rate of a loop that reads as large a share of what it moves (between "
      "two of those above interpolated), or declared operations at the peak of the type, whichever is "
      "longer; "
      "beyond the caches memory's rate is taken beside every sample, not from the line above\n\n";
  std::vector<const Row*> beyond, within, other;
  for (const Row& row : results.rows)
    if (row.seconds.empty())
      other.push_back(&row);
    else
      (in_cache(row, m) ? within : beyond).push_back(&row);
  const auto by_share = [&](const Row* a, const Row* b) {
    return roofline_share(*a, m) < roofline_share(*b, m);
  };
  std::sort(beyond.begin(), beyond.end(), by_share);
  std::sort(within.begin(), within.end(), by_share);
  const auto table = [&](const std::string& heading, const std::vector<const Row*>& rows) {
    if (rows.empty()) return;
    text += "## " + heading +
            "\n\n| operator | case | by | verdict | median | spread | GB/s | Gop/s | floor | of the floor |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n";
    for (const Row* row : rows) {
      const double median = row->median(), floor = roofline_share(*row, m) * median;
      text += "| " + row->item.op + " | " + row->item.case_text() + " | " + row->item.implementation + " | " +
              to_string(row->outcome) + " | " + time_text(median) + " | " +
              report::fixed(100 * spread(row->seconds), 1) + " % | " +
              report::fixed(row->cost.bytes / median / 1e9, 1) + " | " +
              report::fixed(row->cost.operations / median / 1e9, 1) + " | " + time_text(floor) + " | " +
              percent(roofline_share(*row, m)) + " |\n";
    }
    text += "\n";
  };
  table("Beyond the caches, the worst first", beyond);
  table("Operands that fit the caches", within);
  if (!other.empty()) {
    text += "## Without a time\n\n";
    for (const Row* row : other)
      text += "- " + row->item.name() + ": " + to_string(row->outcome) + ", " + row->message + "\n";
  }
  return text;
}

}  // namespace rtfq::lab
