#include "training/experiment_results.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/json.h"
#include "engine/safetensors.h"
#include "training/network.h"
#include "training/run_folder.h"

namespace rtfq::experiment {
namespace fs = std::filesystem;
namespace {

/// Seconds of all logged steps.
double logged_seconds(const std::string& log) {
  std::ifstream in(log);
  double seconds = 0;
  for (std::string line; std::getline(in, line);) {
    const Json entry = parse_json(line);
    if (entry.is_object() && entry.contains("seconds") && entry.at("seconds").is_number())
      seconds += entry.at("seconds").get<double>();
  }
  return seconds;
}

void read_finished(const Experiment& experiment, RunResult& result) {
  const RunPaths paths{result.run.folder};
  const std::vector<Subnet> wanted = evaluated_subnets(experiment, result.run);
  for (SubnetScore score : read_scores(paths.subnets())) {
    if (experiment.evaluation.metric == "class_mean") score.accuracy = score.class_accuracy;
    if (score.accuracy && std::find(wanted.begin(), wanted.end(), score.subnet) != wanted.end())
      result.scores.push_back(score);
  }
  if (result.record.classes == 0) complete(result.record, result.run);
  const int64_t classes = result.record.classes;
  Subnet full = result.run.config.model.bank.largest();
  full.bits = float_bits;
  result.full_precision = subnet_cost(supernet_options(result.run.config, classes), full);
  if (result.run.parent < 0) result.train_macs = training_macs(result.run.config, classes);
}

template <class T>
void merge(std::vector<T>& into, const std::vector<T>& values) {
  std::set<T, std::greater<T>> all(into.begin(), into.end());
  all.insert(values.begin(), values.end());
  into.assign(all.begin(), all.end());
}

void merge(Bank& into, const Bank& bank) {
  merge(into.widths, bank.widths);
  merge(into.depths, bank.depths);
  merge(into.resolutions, bank.resolutions);
  merge(into.bits, bank.bits);
}

Bank empty_bank() {
  return {{}, {}, {}, {}, 1};
}

/// Those of the score's costs that a limit can name.
int64_t cost_of(const SubnetCost& cost, const std::string& measure) {
  return measure == "macs" ? cost.macs : measure == "bytes" ? cost.bytes : cost.bitops;
}

const SubnetScore* find(const Measured& measured, const Subnet& subnet) {
  for (const SubnetScore& score : measured.scores)
    if (score.subnet == subnet) return &score;
  return nullptr;
}

const SubnetScore* extreme(const Measured& measured, bool largest) {
  const Subnet subnet = largest ? measured.bank.largest() : measured.bank.smallest();
  if (const SubnetScore* score = find(measured, subnet)) return score;
  // A method that trains one network at full precision has it in the place of the bank's highest precision.
  Subnet in_float = subnet;
  in_float.bits = float_bits;
  return largest ? find(measured, in_float) : nullptr;
}

/// The most expensive subnet within a limit, of equally expensive ones the one with more BitOPs.
const SubnetScore* fitting(const Value& value, const Measured& measured) {
  const double limit =
      value.limit *
      (value.relative_limit ? static_cast<double>(cost_of(measured.full_precision, value.measure)) : 1.0);
  const SubnetScore* best = nullptr;
  const auto order = [&](const SubnetScore& score) {
    return std::pair(cost_of(score.cost, value.measure), score.cost.bitops);
  };
  for (const SubnetScore& score : measured.scores) {
    if (static_cast<double>(cost_of(score.cost, value.measure)) > limit) continue;
    if (!best || order(score) > order(*best)) best = &score;
  }
  return best;
}

bool matches(const Value& value, const Subnet& subnet) {
  return (!value.width || *value.width == subnet.width) && (!value.depth || *value.depth == subnet.depth) &&
         (!value.resolution || *value.resolution == subnet.resolution) &&
         (!value.bits || *value.bits == subnet.bits);
}

std::optional<double> over_subnets(const Value& value, const Measured& measured) {
  if (measured.scores.size() < 2) return {};
  double sum = 0, least = INFINITY, most = -INFINITY;
  int count = 0;
  for (const SubnetScore& score : measured.scores) {
    if (!matches(value, score.subnet)) continue;
    sum += *score.accuracy;
    least = std::min(least, *score.accuracy);
    most = std::max(most, *score.accuracy);
    ++count;
  }
  if (count == 0) return {};
  return value.kind == Value::Kind::mean ? sum / count : value.kind == Value::Kind::worst ? least : most;
}

}  // namespace

void complete(Record& record, const Run& run) {
  const RunPaths paths{run.folder};
  auto metadata = load_metadata(paths.checkpoint());
  const Json classes = parse_json(metadata["classes"]);
  if (!classes.is_array())
    throw std::runtime_error("[experiment] " + paths.checkpoint() + " names no classes");
  record.classes = static_cast<int64_t>(classes.size());
  record.step_seconds = logged_seconds(paths.log());
}

std::vector<RunResult> collect(const Experiment& experiment, const std::vector<Run>& runs) {
  std::vector<RunResult> results;
  for (const Run& run : runs) {
    RunResult result{.run = run,
                     .progress = inspect(experiment, run, runs),
                     .record = read_record(run.record()),
                     .scores = {},
                     .full_precision = {}};
    if (result.finished()) try {
        read_finished(experiment, result);
      } catch (const std::exception& error) {
        result.progress = {State::failed, 0, {}, error.what()};
      }
    results.push_back(std::move(result));
  }
  return results;
}

std::optional<double> number(const Value& value, const Measured& measured) {
  using Kind = Value::Kind;
  const auto accuracy = [](const SubnetScore* score) { return score ? score->accuracy : std::nullopt; };
  switch (value.kind) {
    case Kind::largest:
      return accuracy(extreme(measured, true));
    case Kind::smallest:
      return accuracy(extreme(measured, false));
    case Kind::fit:
      return accuracy(fitting(value, measured));
    case Kind::subnet:
      if (value.exact) return accuracy(find(measured, *value.exact));
      try {
        return accuracy(find(measured, parse_subnet(value.subnet, measured.bank)));
      } catch (const std::invalid_argument&) {
        return {};  // a value that this bank does not have
      }
    case Kind::mean:
    case Kind::worst:
    case Kind::best:
      return over_subnets(value, measured);
  }
  return {};
}

double Summary::mean() const {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::optional<double> Summary::deviation() const {
  if (values.size() < 2) return {};
  const double middle = mean();
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Results::Results(const Experiment& experiment, std::vector<RunResult> runs)
    : experiment_(experiment), runs_(std::move(runs)) {}

std::vector<const RunResult*> Results::of(const std::string& row, const std::string& task) const {
  const std::vector<std::string> members = experiment_.members(row);
  std::vector<const RunResult*> out;
  for (const RunResult& result : runs_)
    if (result.run.task == task &&
        std::find(members.begin(), members.end(), result.run.method) != members.end())
      out.push_back(&result);
  return out;
}

std::vector<const RunResult*> Results::finished(const std::string& row, const std::string& task) const {
  std::vector<const RunResult*> out = of(row, task);
  std::erase_if(out, [](const RunResult* result) { return !result->finished(); });
  return out;
}

std::vector<uint64_t> Results::seeds(const std::string& row, const std::string& task) const {
  std::set<uint64_t> out;
  for (const RunResult* result : of(row, task)) out.insert(result->run.seed);
  return {out.begin(), out.end()};
}

std::optional<Measured> Results::measured(const std::string& row, const std::string& task,
                                          uint64_t seed) const {
  Measured all{{}, empty_bank(), {}};
  bool any = false;
  for (const RunResult* result : of(row, task)) {
    if (result->run.seed != seed) continue;
    if (!result->finished()) return {};
    any = true;
    for (const SubnetScore& score : result->scores)
      if (!find(all, score.subnet)) all.scores.push_back(score);
    merge(all.bank, result->run.config.model.bank);
    all.full_precision = result->full_precision;
  }
  return any ? std::optional(all) : std::nullopt;
}

Summary Results::summarize(const std::string& row, const std::vector<std::string>& tasks,
                           const Value& value) const {
  std::vector<uint64_t> common = seeds(row, tasks.front());
  for (const std::string& task : tasks) {
    const std::vector<uint64_t> here = seeds(row, task);
    std::erase_if(common,
                  [&](uint64_t seed) { return std::find(here.begin(), here.end(), seed) == here.end(); });
  }
  Summary summary;
  summary.planned = static_cast<int>(common.size());
  for (const uint64_t seed : common) {
    double sum = 0;
    bool complete = true;
    for (const std::string& task : tasks) {
      const auto run = measured(row, task, seed);
      const auto one = run ? number(value, *run) : std::nullopt;
      if (run && !one) summary.undefined = true;
      complete = complete && one;
      sum += one.value_or(0);
    }
    if (complete) summary.values.push_back(sum / static_cast<double>(tasks.size()));
  }
  return summary;
}

Bank Results::bank(const std::vector<std::string>& rows) const {
  Bank all = empty_bank();
  for (const std::string& row : rows)
    for (const std::string& method : experiment_.members(row))
      for (const RunResult& result : runs_)
        if (result.run.method == method) merge(all, result.run.config.model.bank);
  return all;
}

}  // namespace rtfq::experiment
