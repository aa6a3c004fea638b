#pragma once
// The tables and plots of an experiment, and the files they are written to.

#include <string>
#include <vector>

#include "training/experiment_results.h"

namespace rtfq::experiment {

struct Cell {
  std::string text{};             ///< as read
  std::optional<double> value{};  ///< as computed with
  std::optional<double> spread{};
  int count = -1;  ///< seeds behind it; negative: not a statistic
  bool best = false;
};

struct Table {
  std::string name, title, note{};
  std::vector<std::string> head{};
  std::vector<std::vector<Cell>> rows{};
};

/// A statistic as "97.71 ± 0.12 (3)": mean, sample standard deviation, seeds. "(2 of 3)" while runs are
/// missing,
/// "- (0 of 3)" before any, "n/a" where the runs have no such number, nothing where none is to run.
Cell cell(const Summary&);

Table accuracy_table(const TableSpec&, const Results&);
Table subnets_table(const TableSpec&, const Results&);
Table reduction_table(const TableSpec&, const Results&);
Table cost_table(const TableSpec&, const Results&);
Table make_table(const TableSpec&, const Results&);

std::string markdown(const Table&);
/// Numbers with all their digits; a statistic takes three columns: mean, "... sd", "... n".
std::string csv(const Table&);

/// One row for every finished run and subnet: names, costs, accuracies, steps and seconds.
std::string raw_csv(const Results&);

/// A stand-alone SVG: mean accuracy of every subnet against its cost.
std::string plot(const PlotSpec&, const Results&);

/// Writes OUT/report.md, results.csv, tables/NAME.csv and plots/NAME.svg, each atomically. `command`: what
/// repeats it.
void write_report(const Invocation&, const Results&, const std::string& command);

}  // namespace rtfq::experiment
