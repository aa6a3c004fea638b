#include "tools/bench/results.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "engine/atomic_file.h"
#include "tools/bench/statistics.h"
#include "tools/bench/timing.h"
#include "tools/csv.h"
#include "tools/table.h"

namespace rtfq::lab {
namespace {

template <class... A>
std::string format(const char* pattern, A... values) {
  char text[128];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

/// One sample as Google Benchmark reports a repetition.
json iteration_entry(const Row& row, std::size_t sample) {
  json entry{{"name", row.item.name()},
             {"run_name", row.item.name()},
             {"run_type", "iteration"},
             {"family_index", 0},
             {"per_family_instance_index", 0},
             {"repetitions", row.seconds.size()},
             {"repetition_index", sample},
             {"threads", 1},
             {"iterations", row.iterations},
             {"real_time", row.seconds[sample] * 1e9},
             {"cpu_time", row.cpu_seconds * 1e9},
             {"time_unit", "ns"},
             {"bytes_per_second", row.cost.bytes / row.seconds[sample]},
             {"items_per_second", row.cost.operations / row.seconds[sample]}};
  for (const auto& [name, value] : row.counters) entry[name] = value;
  return entry;
}

double end_to_end(const Row& row) {
  return row.end_to_end.empty() ? std::nan("") : quantile(row.end_to_end, 0.5);
}

}  // namespace

std::string time_text(double seconds) {
  if (std::isnan(seconds)) return "-";
  if (seconds < 1e-3) return format("%.2f us", seconds * 1e6);
  if (seconds < 1) return format("%.3f ms", seconds * 1e3);
  return format("%.3f s", seconds);
}

bool in_cache(const Row& row, const Machine& machine) {
  return row.footprint < (machine.cache > 0 ? machine.cache : largest_cache());
}

double roofline_share(const Row& row, const Machine& machine) {
  if (row.seconds.empty() || row.item.device == "simt") return std::nan("");
  if (row.memory.size() != row.seconds.size())
    return machine.floor_seconds(row.cost, machine.memory.of_share(row.read_share), row.item.arithmetic()) /
           row.median();
  std::vector<double> shares;
  for (std::size_t i = 0; i < row.seconds.size(); ++i)
    shares.push_back(machine.floor_seconds(row.cost, row.memory[i], row.item.arithmetic()) / row.seconds[i]);
  return quantile(shares, 0.5);
}

bool beyond_ceilings(const Row& row, const Machine& machine) {
  const double share = roofline_share(row, machine);
  if (!(share > 1.3)) return false;
  // A cache is faster than memory; arithmetic is what it is.
  return !in_cache(row, machine) ||
         row.cost.operations / machine.peak(row.item.arithmetic()) > 1.3 * row.median();
}

void write_results(const Results& results, const std::string& file) {
  json benchmarks = json::array();
  for (const Row& row : results.rows)
    for (std::size_t i = 0; i < row.seconds.size(); ++i) benchmarks.push_back(iteration_entry(row, i));
  const auto& facts = results.environment;
  const json all{{"context",
                  {{"date", facts.at("date")},
                   {"host_name", facts.at("cpu")},
                   {"executable", "rtfq-bench"},
                   {"num_cpus", std::stoi(facts.at("threads"))},
                   {"mhz_per_cpu", 0},
                   {"cpu_scaling_enabled", false},
                   {"caches", json::array()},
                   {"load_avg", json::array()},
                   {"library_build_type", "release"}}},
                 {"benchmarks", benchmarks},
                 {"rtfq",
                  {{"format", 1},
                   {"environment", facts},
                   {"command", results.command},
                   {"machine", results.machine},
                   {"settings", results.settings},
                   {"rows", results.rows}}}};
  write_file_atomically(file, all.dump(1) + "\n");
}

Results read_results(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::invalid_argument("[results] there is no file " + file);
  const json all = json::parse(in, nullptr, false);
  if (all.is_discarded() || !all.contains("rtfq"))
    throw std::invalid_argument("[results] " + file + " is not what `rtfq-bench run --json` writes");
  try {
    const json& own = all["rtfq"];
    return {own.at("environment"), own.at("command"), own.at("machine"), own.at("settings"),
            own.at("rows").get<std::vector<Row>>()};
  } catch (const json::exception& error) {
    throw std::invalid_argument("[results] " + file + ": " + error.what());
  }
}

std::string results_csv(const Results& results) {
  std::string text = cli::csv_line(
      {"op",       "case",     "where",      "implementation",  "device",           "dtype",
       "bits",     "data",     "verdict",    "near_ties",       "compared",         "median_seconds",
       "spread",   "samples",  "iterations", "prepare_seconds", "bytes_per_second", "operations_per_second",
       "roofline", "in_cache", "cycles",     "instructions",    "cache_misses",     "end_to_end_seconds",
       "sm_mhz",   "watts",    "message"});
  for (const Row& row : results.rows) {
    const bool timed = !row.seconds.empty();
    const auto number = [&](double value, bool known) {
      return known ? format("%.9g", value) : std::string();
    };
    const auto counter = [&](const char* name) {
      const auto at = row.counters.find(name);
      return at == row.counters.end() ? std::string() : format("%.9g", at->second);
    };
    const double median = row.median(), share = roofline_share(row, results.machine);
    text += cli::csv_line({row.item.op,
                           row.item.case_text(),
                           row.item.where,
                           row.item.implementation,
                           row.item.device,
                           row.item.dtype,
                           row.item.bits ? std::to_string(row.item.bits) : "",
                           row.item.data,
                           to_string(row.outcome),
                           std::to_string(row.near_ties),
                           std::to_string(row.compared),
                           number(median, timed),
                           number(timed ? spread(row.seconds) : 0, timed),
                           std::to_string(row.seconds.size()),
                           std::to_string(row.iterations),
                           number(row.prepare_seconds, row.prepare_seconds >= 0),
                           number(row.cost.bytes / median, timed),
                           number(row.cost.operations / median, timed),
                           number(share, !std::isnan(share)),
                           timed ? (in_cache(row, results.machine) ? "1" : "0") : "",
                           counter("cycles"),
                           counter("instructions"),
                           counter("cache_misses"),
                           number(end_to_end(row), !row.end_to_end.empty()),
                           counter("sm_mhz"),
                           counter("watts"),
                           row.message});
  }
  return text;
}

std::string results_table(const std::vector<Row>& rows, const Machine& machine) {
  bool prepares = false, counts = false, ends = false;
  for (const Row& row : rows) {
    prepares |= row.prepare_seconds >= 0;
    counts |= row.counters.count("instructions") > 0;
    ends |= !row.end_to_end.empty();
  }
  std::vector<std::string> head{"operator", "case", "by",    "verdict", "median",
                                "spread",   "GB/s", "Gop/s", "roofline"};
  if (prepares) head.push_back("prepare");
  if (counts) head.push_back("instr/cycle");
  if (ends) head.push_back("end to end");
  std::vector<std::vector<std::string>> lines{head};
  for (const Row& row : rows) {
    std::string verdict = to_string(row.outcome);
    if (row.outcome == Outcome::near_tie) verdict += " (" + std::to_string(row.near_ties) + ")";
    std::string by = row.item.implementation;
    if (row.item.device != "cpu") by += " on " + row.item.device;
    std::vector<std::string> line{row.item.op, row.item.case_text(), by, verdict};
    if (row.seconds.empty()) {
      line.insert(line.end(), head.size() - line.size(), "-");
    } else {
      const double median = row.median(), share = roofline_share(row, machine);
      line.push_back(time_text(median));
      line.push_back(format("%.1f %%%s", 100 * spread(row.seconds), row.noisy ? "!" : ""));
      line.push_back(format("%.1f", row.cost.bytes / median / 1e9));
      line.push_back(format("%.1f", row.cost.operations / median / 1e9));
      line.push_back(std::isnan(share)
                         ? "-"
                         : format("%.0f %%%s%s", 100 * share, in_cache(row, machine) ? " in cache" : "",
                                  beyond_ceilings(row, machine) ? " ?" : ""));
      if (prepares) line.push_back(row.prepare_seconds >= 0 ? time_text(row.prepare_seconds) : "-");
      if (counts) {
        const auto cycles = row.counters.find("cycles"), instructions = row.counters.find("instructions");
        const bool both = cycles != row.counters.end() && instructions != row.counters.end();
        line.push_back(both ? format("%.2f", instructions->second / cycles->second) : "-");
      }
      if (ends) line.push_back(time_text(end_to_end(row)));
    }
    lines.push_back(std::move(line));
  }
  return cli::table(lines);
}

std::string results_footer(const std::vector<Row>& rows, const Machine& machine) {
  bool shares = false, probed = false, noisy = false, beyond = false, cached = false;
  for (const Row& row : rows) {
    if (std::isnan(roofline_share(row, machine))) continue;
    shares = true;
    probed |= !row.memory.empty();
    noisy |= row.noisy;
    beyond |= beyond_ceilings(row, machine);
    cached |= in_cache(row, machine);
  }
  if (!shares) return "";
  std::string text =
      "roofline: the longer of bytes at memory's rate and operations at the peak, over the median. " +
      machine.cpu + (machine.threads ? ", " + std::to_string(machine.threads) + " threads" : "") +
      ", measured " + machine.date.substr(0, 10) + ": " + machine.memory_text() +
      format("; f32 %.0f", machine.f32 / 1e9);
  if (machine.bf16 > 0) text += format(", bf16 %.0f", machine.bf16 / 1e9);
  if (machine.int8 > 0) text += format(", int8 %.0f", machine.int8 / 1e9);
  text += " Gop/s";
  if (probed) text += "; of operands beyond the caches memory's rate is the one measured beside the samples";
  text += "\n";
  if (cached) text += "in cache: the operands fit the last-level cache, and memory's rate is no bound\n";
  if (noisy) text += "!: the stated noise was not reached in the time a row may take (--noise, --seconds)\n";
  if (beyond)
    text +=
        "?: more than 130 % of the ceilings: the operator works in place, which can beat copies past the "
        "caches, or they "
        "were measured at a worse moment (`rtfq-bench machine --refresh` while nothing else runs)\n";
  return text;
}

}  // namespace rtfq::lab
