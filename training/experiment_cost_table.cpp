// One bank against its subnets trained one by one.
#include <cmath>

#include "training/experiment_tables.h"
#include "training/report/text.h"

namespace rtfq::experiment {
namespace {

/// y = a + b x by least squares; nothing with fewer than two different x.
struct Line {
  double a = 0, b = 0;
};

std::optional<Line> fit(const std::vector<std::pair<double, double>>& points) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& [px, py] : points) n += 1, x += px, y += py, xx += px * px, xy += px * py;
  const double spread = n * xx - x * x;
  if (n < 2 || spread <= 1e-9 * n * xx) return {};
  const double b = (n * xy - x * y) / spread;
  return Line{(y - b * x) / n, b};
}

struct Effort {
  double runs = 0, steps = 0, seconds = 0, macs = 0;
};

std::vector<Cell> row(const std::string& name, const Effort& effort) {
  const auto whole = [](double value) { return std::to_string(std::llround(value)); };
  return {{.text = name},
          {.text = whole(effort.runs), .value = effort.runs},
          {.text = whole(effort.steps), .value = effort.steps},
          {.text = report::duration(effort.seconds), .value = effort.seconds},
          {.text = report::quantity(effort.macs), .value = effort.macs}};
}

std::string times(double value) {
  return report::fixed(value, 1) + "x";
}

/// A subnet trained alone, mean over its seeds.
struct Alone {
  SubnetScore score;
  Effort effort;
  double seeds = 0;
};

std::vector<Alone> trained_alone(const TableSpec& spec, const std::string& task, const Results& results) {
  std::vector<Alone> out;
  for (const RunResult* run : results.finished(spec.alone, task)) {
    if (run->scores.size() != 1) continue;
    Alone* alone = nullptr;
    for (Alone& known : out)
      if (known.score.subnet == run->scores[0].subnet) alone = &known;
    if (!alone) alone = &out.emplace_back(Alone{run->scores[0], {}, 0});
    alone->seeds += 1;
    alone->effort.steps += static_cast<double>(run->run.config.train.steps);
    alone->effort.seconds += run->record.step_seconds;
    alone->effort.macs += run->train_macs;
  }
  for (Alone& alone : out)
    alone.effort = {1, alone.effort.steps / alone.seeds, alone.effort.seconds / alone.seeds,
                    alone.effort.macs / alone.seeds};
  return out;
}

/// All subnets of the bank, from those that were trained alone: seconds and MACs as a line in the subnet's
/// MACs.
std::optional<Effort> extrapolated(const std::vector<Alone>& alone, const std::vector<SubnetScore>& bank) {
  std::vector<std::pair<double, double>> seconds, macs;
  double steps = 0;
  for (const Alone& each : alone) {
    const auto size = static_cast<double>(each.score.cost.macs);
    seconds.emplace_back(size, each.effort.seconds);
    macs.emplace_back(size, each.effort.macs);
    steps += each.effort.steps / static_cast<double>(alone.size());
  }
  const auto time = fit(seconds), work = fit(macs);
  if (!time || !work) return {};
  Effort all;
  for (const SubnetScore& score : bank) {
    const auto size = static_cast<double>(score.cost.macs);
    all.runs += 1;
    all.steps += steps;
    all.seconds += std::max(0.0, time->a + time->b * size);
    all.macs += std::max(0.0, work->a + work->b * size);
  }
  return all;
}

}  // namespace

Table cost_table(const TableSpec& spec, const Results& results) {
  const Experiment& experiment = results.experiment();
  const std::string& method = spec.methods.front();
  const std::string& task = spec.tasks.front();
  Table table{.name = spec.name,
              .title = spec.title,
              .note = spec.note,
              .head = {"training", "runs", "steps", "time of the steps", "MACs"}};
  const auto banks = results.finished(method, task);
  if (banks.empty()) {
    table.note += " No run of " + experiment.title_of(method) + " is finished yet.";
    return table;
  }
  Effort bank{1, 0, 0, 0};
  const auto count = static_cast<double>(banks.size());
  for (const RunResult* run : banks) {
    bank.steps += static_cast<double>(run->run.config.train.steps) / count;
    bank.seconds += run->record.step_seconds / count;
    bank.macs += run->train_macs / count;
  }
  const std::vector<SubnetScore>& subnets = banks.front()->scores;
  table.rows.push_back(row("one bank of " + std::to_string(subnets.size()) + " subnets", bank));
  const std::vector<Alone> alone = trained_alone(spec, task, results);
  for (const Alone& each : alone) table.rows.push_back(row(id(each.score.subnet) + " alone", each.effort));
  if (const auto all = extrapolated(alone, subnets)) {
    table.rows.push_back(row("all " + std::to_string(subnets.size()) + " one by one (extrapolated from " +
                                 std::to_string(alone.size()) + ")",
                             *all));
    table.rows.push_back({{.text = "one by one over one bank"},
                          {},
                          {.text = times(all->steps / bank.steps), .value = all->steps / bank.steps},
                          {.text = times(all->seconds / bank.seconds), .value = all->seconds / bank.seconds},
                          {.text = times(all->macs / bank.macs), .value = all->macs / bank.macs}});
  } else {
    table.note += " Too few subnets trained alone are finished to extrapolate from.";
  }
  table.note +=
      " Extrapolation: time and MACs of training as a straight line in the subnet's MACs, through the "
      "subnets "
      "that were trained alone; not measured. MACs count a forward pass once, gradients as two forward "
      "passes, "
      "the teacher's forward passes once. Means over seeds; calibration and evaluation left out.";
  return table;
}

}  // namespace rtfq::experiment
