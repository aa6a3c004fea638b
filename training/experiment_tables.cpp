#include "training/experiment_tables.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "training/report/text.h"

namespace rtfq::experiment {
namespace {

using report::fixed;

Cell plain(const std::string& text) {
  return {.text = text};
}

Cell amount(double value, const std::string& text) {
  return {.text = text, .value = value};
}

/// How many times less: "15.9x".
Cell reduction(int64_t full, int64_t cost) {
  const double times = static_cast<double>(full) / static_cast<double>(cost);
  return amount(times, fixed(times, times < 99.95 ? 1 : 0) + "x");
}

std::vector<std::string> tasks_of(const std::string& task, const TableSpec& spec,
                                  const Experiment& experiment) {
  if (task != "mean") return {task};
  std::vector<std::string> all;
  for (const std::string& name : spec.tasks)
    if (name != "mean") all.push_back(name);
  if (all.empty())
    for (const Task& each : experiment.tasks) all.push_back(each.name);
  return all;
}

std::string task_title(const std::string& task, const Experiment& experiment) {
  return task == "mean" ? "mean over tasks" : experiment.task(task).title;
}

/// A table of one task of several says which, since its columns do not.
void name_task(Table& table, const TableSpec& spec, const Experiment& experiment) {
  if (spec.tasks.size() != 1 || experiment.tasks.size() == 1) return;
  const std::string& task = spec.tasks[0];
  table.note = (task == "mean" ? "Mean over tasks" : task_title(task, experiment)) + ". " + table.note;
}

/// "mean by bits" becomes one value for each bit-width that the methods have.
std::vector<Value> expanded(const TableSpec& spec, const Results& results) {
  const Bank bank = results.bank(spec.methods);
  std::vector<Value> out;
  for (const Value& value : spec.values) {
    if (value.by.empty()) {
      out.push_back(value);
      continue;
    }
    const std::string kind = value.text.substr(0, value.text.find(' '));
    const auto add = [&](double number) {
      char text[32];
      std::snprintf(text, sizeof text, "%g", number);
      out.push_back(parse_value(kind + " " + value.by + "=" + text));
    };
    if (value.by == "bits" || value.by == "resolution")
      for (const int number : value.by == "bits" ? bank.bits : bank.resolutions) add(number);
    else
      for (const double number : value.by == "width" ? bank.widths : bank.depths) add(number);
  }
  return out;
}

std::string heading(const Value& value) {
  if (value.kind != Value::Kind::fit) return value.text;
  return "largest within " + value.text.substr(4);
}

/// Marks the highest mean of a column, and what reads the same, where there are several to compare.
void mark_best(Table& table, std::size_t column) {
  std::string best;
  double most = 0;
  int compared = 0;
  for (const auto& row : table.rows) {
    const Cell& cell = row[column];
    if (cell.count < 1) continue;
    if (compared++ == 0 || *cell.value > most) most = *cell.value;
  }
  best = fixed(most, 2);
  for (auto& row : table.rows)
    row[column].best = compared > 1 && row[column].count >= 1 && fixed(*row[column].value, 2) == best;
}

struct ById {
  bool operator()(const SubnetScore& a, const SubnetScore& b) const {
    return std::pair(a.cost.bitops, id(a.subnet)) < std::pair(b.cost.bitops, id(b.subnet));
  }
};

/// All subnets that finished runs of these methods measured, cheapest first.
std::set<SubnetScore, ById> subnets_of(const TableSpec& spec, const Results& results) {
  std::set<SubnetScore, ById> out;
  for (const std::string& row : spec.methods)
    for (const std::string& task : tasks_of("mean", spec, results.experiment()))
      for (const RunResult* run : results.finished(row, task))
        out.insert(run->scores.begin(), run->scores.end());
  return out;
}

bool is_corner(const Subnet& subnet, const Bank& bank) {
  const auto at = [&](Subnet corner, int bits) {
    corner.bits = bits;
    return corner == subnet;
  };
  for (const int bits : {bank.bits.front(), bank.bits.back()})
    if (at(bank.largest(), bits) || at(bank.smallest(), bits)) return true;
  return false;
}

Value value_of(const Subnet& subnet) {
  Value value;
  value.kind = Value::Kind::subnet;
  value.exact = subnet;
  return value;
}

void add_costs(std::vector<Cell>& row, const SubnetCost& cost) {
  row.push_back(amount(static_cast<double>(cost.bytes), report::bytes(static_cast<double>(cost.bytes))));
  row.push_back(amount(static_cast<double>(cost.macs), report::quantity(static_cast<double>(cost.macs))));
  row.push_back(amount(static_cast<double>(cost.bitops), report::quantity(static_cast<double>(cost.bitops))));
}

}  // namespace

Cell cell(const Summary& summary) {
  const int count = static_cast<int>(summary.values.size());
  if (summary.planned == 0) return {};
  if (count == 0 && summary.undefined) return {.text = "n/a"};
  const std::string seeds = " (" + std::to_string(count) +
                            (count < summary.planned ? " of " + std::to_string(summary.planned) : "") + ")";
  Cell out{.text = "-" + seeds};
  out.count = count;
  if (count == 0) return out;
  out.value = summary.mean();
  out.spread = summary.deviation();
  out.text = fixed(*out.value, 2) + (out.spread ? " ± " + fixed(*out.spread, 2) : "") + seeds;
  return out;
}

Table accuracy_table(const TableSpec& spec, const Results& results) {
  const Experiment& experiment = results.experiment();
  Table table{.name = spec.name, .title = spec.title, .note = spec.note, .head = {"method"}};
  const std::vector<Value> values = expanded(spec, results);
  for (const std::string& task : spec.tasks)
    for (const Value& value : values)
      table.head.push_back(spec.tasks.size() == 1 ? heading(value)
                                                  : task_title(task, experiment) + ": " + heading(value));
  for (const std::string& method : spec.methods) {
    std::vector<Cell> row{plain(experiment.title_of(method))};
    for (const std::string& task : spec.tasks)
      for (const Value& value : values)
        row.push_back(cell(results.summarize(method, tasks_of(task, spec, experiment), value)));
    table.rows.push_back(std::move(row));
  }
  for (std::size_t column = 1; column < table.head.size(); ++column) mark_best(table, column);
  for (const PublishedRow& published : spec.published) {
    std::vector<Cell> row{plain(published.title)};
    for (const std::string& task : spec.tasks)
      for (std::size_t i = 0; i < values.size(); ++i) {
        row.emplace_back();
        for (const auto& [of, number] : published.values)
          if (of == task && i == 0) row.back().text = number;
      }
    table.rows.push_back(std::move(row));
  }
  name_task(table, spec, experiment);
  return table;
}

Table subnets_table(const TableSpec& spec, const Results& results) {
  const Experiment& experiment = results.experiment();
  Table table{.name = spec.name,
              .title = spec.title,
              .note = spec.note,
              .head = {"subnet", "size", "MACs", "BitOPs"}};
  for (const std::string& task : spec.tasks)
    for (const std::string& method : spec.methods)
      table.head.push_back((spec.tasks.size() == 1 ? "" : task_title(task, experiment) + ": ") +
                           experiment.title_of(method));
  const Bank bank = results.bank(spec.methods);
  for (const SubnetScore& score : subnets_of(spec, results)) {
    if (spec.subnets == "corners" && !is_corner(score.subnet, bank)) continue;
    std::vector<Cell> row{plain(id(score.subnet))};
    add_costs(row, score.cost);
    for (const std::string& task : spec.tasks)
      for (const std::string& method : spec.methods)
        row.push_back(
            cell(results.summarize(method, tasks_of(task, spec, experiment), value_of(score.subnet))));
    table.rows.push_back(std::move(row));
  }
  name_task(table, spec, experiment);
  return table;
}

Table reduction_table(const TableSpec& spec, const Results& results) {
  Table table{
      .name = spec.name,
      .title = spec.title,
      .note = spec.note,
      .head = {"subnet", "size", "less than float", "MACs", "less than float", "BitOPs", "less than float"}};
  const std::string& method = spec.methods.front();
  const RunResult* run = nullptr;
  for (const std::string& task : tasks_of("mean", spec, results.experiment()))
    if (const auto finished = results.finished(method, task); !run && !finished.empty())
      run = finished.front();
  if (!run) {
    table.note += " No run of " + results.experiment().title_of(method) + " is finished yet.";
    return table;
  }
  const SubnetCost& full = run->full_precision;
  std::set<SubnetScore, ById> subnets(run->scores.begin(), run->scores.end());
  int64_t apart = 0;
  for (const SubnetScore& score : subnets) apart += score.cost.bytes;
  std::vector<Cell> first{plain("full precision, largest")};
  add_costs(first, full);
  for (const std::size_t at : {2u, 4u, 6u})
    first.insert(first.begin() + static_cast<std::ptrdiff_t>(at), amount(1, "1.0x"));
  table.rows.push_back(first);
  for (const SubnetScore& score : subnets) {
    std::vector<Cell> costs;
    add_costs(costs, score.cost);
    table.rows.push_back({plain(id(score.subnet)), costs[0], reduction(full.bytes, score.cost.bytes),
                          costs[1], reduction(full.macs, score.cost.macs), costs[2],
                          reduction(full.bitops, score.cost.bitops)});
  }
  const auto extremes = [&](std::size_t column) {
    const auto [least, most] = std::minmax_element(
        table.rows.begin() + 1, table.rows.end(),
        [&](const auto& a, const auto& b) { return *a[column].value < *b[column].value; });
    return (*least)[column].text + " to " + (*most)[column].text;
  };
  table.note +=
      " Of all subnets: " + extremes(2) + " less memory, " + extremes(4) + " fewer MACs, " + extremes(6) +
      " fewer BitOPs. Full precision takes 32-bit weights and activations. One set of float weights (" +
      report::bytes(static_cast<double>(full.bytes)) + ") serves all " + std::to_string(subnets.size()) +
      " subnets; stored one by one, packed, they would take " + report::bytes(static_cast<double>(apart)) +
      ".";
  return table;
}

Table make_table(const TableSpec& spec, const Results& results) {
  switch (spec.kind) {
    case TableSpec::Kind::accuracy:
      return accuracy_table(spec, results);
    case TableSpec::Kind::subnets:
      return subnets_table(spec, results);
    case TableSpec::Kind::reduction:
      return reduction_table(spec, results);
    case TableSpec::Kind::cost:
      return cost_table(spec, results);
  }
  return {};
}

}  // namespace rtfq::experiment
