#pragma once
// Rows as files and as text: Google Benchmark's JSON with our own beside it, CSV, a table for people.

#include <string>
#include <vector>

#include "tools/bench/item.h"
#include "tools/bench/machine.h"

namespace rtfq::lab {

struct Results {
  std::map<std::string, std::string> environment;  ///< version, commit, cpu, threads, date
  std::string command;                             ///< as it was typed
  Machine machine;
  Settings settings;
  std::vector<Row> rows;
};

/// One file: "context" and "benchmarks" as Google Benchmark writes them (its compare.py reads it), and
/// "rtfq", which is what read_results reads. Throws std::runtime_error when it cannot be written.
void write_results(const Results&, const std::string& file);
/// Throws std::invalid_argument when the file is none of ours.
Results read_results(const std::string& file);

std::string results_csv(const Results&);

/// Columns that every row has: median, spread, bytes and operations a second, percent of the roofline.
std::string results_table(const std::vector<Row>&, const Machine&);
/// What the table's shares are relative to, and what its marks mean; empty where nothing has a share.
std::string results_footer(const std::vector<Row>&, const Machine&);
/// A share of the roofline to be wondered at: above 130 % of a ceiling that bounds the row.
bool beyond_ceilings(const Row&, const Machine&);

/// What a row reaches of the roofline, 0 to 1 (more where a case lies in the caches); NaN for the executor
/// and what has no time.
double roofline_share(const Row&, const Machine&);
/// All operands fit the last-level cache, so that memory's bandwidth is no bound.
bool in_cache(const Row&, const Machine&);

/// "1.234 ms".
std::string time_text(double seconds);

}  // namespace rtfq::lab
