// The files that people read: report.md, CSV and SVG.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "engine/safetensors.h"
#include "training/experiment_tables.h"
#include "training/report/chart.h"
#include "training/report/text.h"

namespace rtfq::experiment {
namespace fs = std::filesystem;
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

/// A cell of a Markdown table.
std::string escaped(const std::string& text) {
  return replaced(replaced(text, "|", "\\|"), "\n", " ");
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == text.npos) return text;
  return "\"" + replaced(text, "\"", "\"\"") + "\"";
}

std::string digits(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string optional_digits(const std::optional<double>& value) {
  return value ? digits(*value) : "";
}

double cost_of(const SubnetCost& cost, const std::string& measure) {
  return static_cast<double>(measure == "macs"     ? cost.macs
                             : measure == "bytes"  ? cost.bytes
                             : measure == "params" ? cost.params
                                                   : cost.bitops);
}

/// Every subnet's mean accuracy over seeds, and over tasks where there are several.
std::vector<std::pair<Subnet, report::Point>> points(const PlotSpec& spec, const std::string& method,
                                                     const Results& results) {
  const Experiment& experiment = results.experiment();
  std::vector<std::string> tasks;
  if (spec.task != "mean") tasks.push_back(spec.task);
  for (const Task& task : experiment.tasks)
    if (spec.task == "mean" && !results.seeds(method, task.name).empty()) tasks.push_back(task.name);
  std::vector<std::pair<Subnet, report::Point>> out;
  if (tasks.empty()) return out;
  std::set<std::string> seen;
  for (const RunResult* run : results.finished(method, tasks.front()))
    for (const SubnetScore& score : run->scores) {
      if (!seen.insert(id(score.subnet)).second) continue;
      Value value;
      value.kind = Value::Kind::subnet;
      value.exact = score.subnet;
      const Summary summary = results.summarize(method, tasks, value);
      if (summary.values.empty()) continue;
      report::Point point{cost_of(score.cost, spec.x), summary.mean()};
      point.spread = summary.deviation().value_or(0);
      point.title = experiment.title_of(method) + ", " + id(score.subnet) + ": " + report::fixed(point.y, 2) +
                    " %, " + report::quantity(point.x) + " " + spec.x;
      out.emplace_back(score.subnet, point);
    }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second.x < b.second.x; });
  return out;
}

std::string status_line(const Results& results) {
  std::map<State, int> counts;
  for (const RunResult& run : results.runs()) ++counts[run.progress.state];
  std::string text = std::to_string(counts[State::finished]) + " of " +
                     std::to_string(results.runs().size()) + " runs are finished";
  for (const State state : {State::started, State::trained, State::failed, State::differs})
    if (counts[state]) text += ", " + std::to_string(counts[state]) + " " + to_string(state);
  return text + ".";
}

/// The distinct values of a key of the finished runs' environments.
std::string environments(const Results& results, const std::string& key) {
  std::set<std::string> values;
  for (const RunResult& run : results.runs())
    if (run.finished() && run.record.environment.count(key)) values.insert(run.record.environment.at(key));
  if (key == "ended" && values.size() > 1) return *values.begin() + " to " + *values.rbegin();
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : ", ") + value;
  return out.empty() ? "not recorded (runs trained by hand)" : out;
}

std::string settings_section(const Results& results, const Settings& command_line) {
  const Experiment& experiment = results.experiment();
  const auto code = [](const Settings& settings) {
    std::string out;
    for (const std::string& setting : settings) out += (out.empty() ? "`" : ", `") + escaped(setting) + "`";
    return out.empty() ? std::string("as the base") : out;
  };
  std::string out = "## Settings\n\n";
  Settings common = experiment.settings;
  for (const std::string& setting : command_line) {  // the last one of a key holds
    const std::string key = setting.substr(0, setting.find('=') + 1);
    std::erase_if(common, [&](const std::string& earlier) { return earlier.starts_with(key); });
    common.push_back(setting);
  }
  out += "All runs: " + code(common) + ". Base configurations:";
  for (const Task& task : experiment.tasks)
    out += " " + task.title + ": `" + fs::path(task.base).filename().string() + "`;";
  out.back() = '.';
  out += " The complete configuration of a run is its `config.jsonc`.";
  out += "\n\n| method | name | settings |\n|---|---|---|\n";
  std::set<std::string> used;
  for (const RunResult& run : results.runs()) used.insert(run.run.method);
  for (const Method& method : experiment.methods)
    if (used.count(method.name))
      out += "| " + escaped(method.title) + " | `" + method.name + "` | " +
             (method.quantize.empty() ? "" : "`" + method.quantize + "` quantized after its training: ") +
             code(method.settings) + " |\n";
  return out;
}

std::string troubles(const Results& results) {
  std::string out;
  for (const RunResult& run : results.runs()) {
    if (run.progress.state == State::failed)
      out += "- `" + run.run.id() + "` failed:\n\n      " + replaced(run.progress.error, "\n", "\n      ") +
             "\n\n";
    if (run.progress.state == State::differs) {
      out += "- `" + run.run.id() + "` was run with other values of";
      for (const std::string& key : run.progress.differing) out += " " + key;
      out += " and is left out.\n";
    }
  }
  return out.empty() ? "" : "## Runs left out\n\n" + out + "\n";
}

}  // namespace

std::string markdown(const Table& table) {
  std::string out = "| ", rule = "|";
  for (std::size_t column = 0; column < table.head.size(); ++column) {
    out += escaped(table.head[column]) + " | ";
    rule += column ? "---:|" : "---|";
  }
  out.pop_back();
  out += "\n" + rule + "\n";
  for (const auto& row : table.rows) {
    out += "|";
    for (const Cell& cell : row)
      out += " " + (cell.best ? "**" + escaped(cell.text) + "**" : escaped(cell.text)) + " |";
    out += "\n";
  }
  return out;
}

std::string csv(const Table& table) {
  std::vector<bool> statistic(table.head.size(), false);
  for (const auto& row : table.rows)
    for (std::size_t column = 0; column < row.size(); ++column)
      if (row[column].count >= 0) statistic[column] = true;
  std::string out;
  const auto put = [&](const std::string& text, bool first) { out += (first ? "" : ",") + quoted(text); };
  for (std::size_t column = 0; column < table.head.size(); ++column) {
    put(table.head[column], column == 0);
    if (!statistic[column]) continue;
    put(table.head[column] + " sd", false);
    put(table.head[column] + " n", false);
  }
  out += "\n";
  for (const auto& row : table.rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      const Cell& cell = row[column];
      put(statistic[column] || cell.value ? optional_digits(cell.value) : cell.text, column == 0);
      if (!statistic[column]) continue;
      put(optional_digits(cell.spread), false);
      put(cell.count >= 0 ? std::to_string(cell.count) : "", false);
    }
    out += "\n";
  }
  return out;
}

std::string raw_csv(const Results& results) {
  std::string out =
      "task,method,seed,subnet,width,depth,resolution,bits,params,bytes,macs,bitops,accuracy,source_accuracy,"
      "steps,"
      "step_seconds,training_macs,commit\n";
  for (const RunResult& run : results.runs()) {
    if (!run.finished()) continue;
    const auto commit = run.record.environment.find("commit");
    for (const SubnetScore& score : run.scores)
      out += run.run.task + "," + run.run.method + "," + std::to_string(run.run.seed) + "," +
             id(score.subnet) + "," + digits(score.subnet.width) + "," + digits(score.subnet.depth) + "," +
             std::to_string(score.subnet.resolution) + "," + std::to_string(score.subnet.bits) + "," +
             std::to_string(score.cost.params) + "," + std::to_string(score.cost.bytes) + "," +
             std::to_string(score.cost.macs) + "," + std::to_string(score.cost.bitops) + "," +
             optional_digits(score.accuracy) + "," + optional_digits(score.source_accuracy) + "," +
             std::to_string(run.run.config.train.steps) + "," + digits(run.record.step_seconds) + "," +
             digits(run.train_macs) + "," + (commit == run.record.environment.end() ? "" : commit->second) +
             "\n";
  }
  return out;
}

std::string plot(const PlotSpec& spec, const Results& results) {
  const Experiment& experiment = results.experiment();
  std::vector<report::Series> series;
  const std::vector<int> bits = results.bank(spec.methods).bits;
  for (std::size_t m = 0; m < spec.methods.size(); ++m) {
    const std::string& method = spec.methods[m];
    const auto all = points(spec, method, results);
    const auto add = [&](const std::string& name, int colour, int shape, const auto& keep) {
      report::Series one{.name = name, .colour = colour, .shape = shape};
      for (const auto& [subnet, point] : all)
        if (keep(subnet)) one.points.push_back(point);
      if (!one.points.empty()) series.push_back(std::move(one));
    };
    const int shape = static_cast<int>(m);
    if (spec.by == "method") {
      add(experiment.title_of(method), shape, shape, [](const Subnet&) { return true; });
      continue;
    }
    std::vector<int> here =
        bits;  // a network that is not in a bank, such as source-only, may be at full precision
    if (std::find(here.begin(), here.end(), float_bits) == here.end()) here.push_back(float_bits);
    for (std::size_t b = 0; b < here.size(); ++b) {
      const std::string name = here[b] == float_bits ? "float" : std::to_string(here[b]) + " bits";
      add(spec.methods.size() == 1 ? name : experiment.title_of(method) + ", " + name, static_cast<int>(b),
          shape, [&](const Subnet& subnet) { return subnet.bits == here[b]; });
    }
  }
  static const std::map<std::string, std::string> axes{{"bitops", "BitOPs an image"},
                                                       {"macs", "MACs an image"},
                                                       {"bytes", "bytes of packed weights"},
                                                       {"params", "parameters"}};
  report::ChartOptions options{.title = spec.title};
  options.x_label = axes.at(spec.x);
  options.y_label = spec.task == "mean" && experiment.tasks.size() > 1 ? "target accuracy, %, mean over tasks"
                                                                       : "target accuracy, %";
  options.x_scale = report::Scale::log;
  options.form = report::Form::stand_alone;
  options.width = 720;
  options.height = 420;
  return report::scatter_chart(series, options);
}

void write_report(const Invocation& invocation, const Results& results, const std::string& command) {
  const std::string& out = invocation.out;
  const Experiment& experiment = results.experiment();
  fs::create_directories(out + "/tables");
  if (!experiment.plots.empty()) fs::create_directories(out + "/plots");
  std::string text =
      "# " + experiment.title + "\n\n" + experiment.claim + "\n\n" + status_line(results) +
      (experiment.evaluation.metric == "class_mean"
           ? " Accuracies are percent of a class's target images classified correctly, averaged over the "
             "classes, "
           : " Accuracies are percent of target images classified correctly, ") +
      "by the last checkpoint; no target "
      "label was used in training or in choosing anything. Cells are the mean over seeds ± the sample "
      "standard deviation (number of seeds).\n\n";
  for (const TableSpec& spec : experiment.tables) {
    const Table table = make_table(spec, results);
    write_file_atomically(out + "/tables/" + table.name + ".csv", csv(table));
    text += "## " + table.title + "\n\n";
    if (!table.rows.empty()) text += markdown(table) + "\n";
    const std::size_t begin = table.note.find_first_not_of(' ');
    if (begin != table.note.npos)
      text += table.note.substr(begin, table.note.find_last_not_of(' ') + 1 - begin) + "\n\n";
    if (!experiment.footer.empty()) text += experiment.footer + "\n\n";
  }
  for (const PlotSpec& spec : experiment.plots) {
    write_file_atomically(out + "/plots/" + spec.name + ".svg", plot(spec, results));
    text += "## " + spec.title + "\n\n![" + spec.title + "](plots/" + spec.name + ".svg)\n\n";
  }
  text += troubles(results) + settings_section(results, invocation.settings);
  text += "\n## Environment\n\n| | |\n|---|---|\n";
  for (const auto& [key, name] :
       std::vector<std::pair<std::string, std::string>>{{"commit", "commit of rtfq"},
                                                        {"version", "version"},
                                                        {"cpu", "processor"},
                                                        {"threads", "threads"},
                                                        {"jpeg", "JPEG decoder"},
                                                        {"ended", "runs ended (UTC)"}})
    text += "| " + name + " | " + escaped(environments(results, key)) + " |\n";
  text +=
      "\nEvery run's own is in `runs/TASK/METHOD/seedN.json`. Raw rows: `results.csv`; tables with all "
      "digits: "
      "`tables/`.\n\nRepeat with:\n\n```\n" +
      command + "\n```\n";
  write_file_atomically(out + "/results.csv", raw_csv(results));
  write_file_atomically(out + "/report.md", text);
}

}  // namespace rtfq::experiment
