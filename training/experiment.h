#pragma once
// An experiment: one file (training/experiments/*.jsonc, docs/experiments.md) that says which runs a figure
// or table of results needs and how it is made of them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "training/config.h"

namespace rtfq::experiment {

/// Settings of the configuration as --set takes them: "bank.bits=[8,4]".
using Settings = std::vector<std::string>;

/// From one domain to another.
struct Task {
  std::string name, title;
  std::string base;  ///< preset or file; empty: the experiment's
  Settings settings;
};

struct Method {
  std::string name, title;
  std::string
      quantize;  ///< the method whose finished run `rtfq quantize` turns into this one; empty: trained
  Settings settings;
};

/// Several methods that count as one in tables and plots: their subnets together.
struct Group {
  std::string name, title;
  std::vector<std::string> methods;
};

/// Which methods run on which tasks with which seeds.
struct RunSet {
  std::vector<std::string> methods, tasks;
  std::vector<uint64_t> seeds;
};

/// Which subnets `rtfq eval` measures.
struct Evaluation {
  std::string subnets = "all";      ///< all, corners (extreme architectures at extreme bit-widths), listed
  std::vector<std::string> listed;  ///< "width=0.5,bits=4"
  std::string metric = "accuracy";  ///< accuracy, class_mean: what tables and plots call accuracy
  bool source = false;              ///< accuracy on the source too
  bool held_out = false;            ///< only on the target images that data.hold_out kept out of training
};

/// One number of a run: an accuracy of a subnet or over subnets.
struct Value {
  enum class Kind {
    subnet,    ///< of one: what the text leaves out is the bank's largest
    largest,   ///< of the largest architecture at the highest precision
    smallest,  ///< of the smallest at the lowest
    mean,      ///< over all that match
    worst,
    best,
    fit  ///< of the most expensive one within a limit: no accuracy decides which
  };
  Kind kind = Kind::largest;
  std::string text;             ///< as written
  std::string subnet;           ///< of Kind::subnet
  std::optional<Subnet> exact;  ///< the same, where it is known and need not be in the bank
  // What a subnet must have to be counted by mean, worst and best.
  std::optional<double> width, depth;
  std::optional<int> resolution, bits;
  std::string by;            ///< "bits", ...: stands for one value each; empty otherwise
  std::string measure = "";  ///< of Kind::fit: macs, bitops, bytes
  double limit = 0;          ///< of Kind::fit
  bool relative_limit =
      false;  ///< `limit`, at most 1 or written 1/64, is a fraction of the full-precision network's
};

/// "largest", "mean bits=4", "worst by bits", "width=0.5,bits=4", "fit bitops 1/64", "fit bytes 300K". Throws
/// std::invalid_argument naming the forms.
Value parse_value(const std::string& text);

/// A row of numbers from elsewhere, as printed there: by task or "mean".
struct PublishedRow {
  std::string title;
  std::vector<std::pair<std::string, std::string>> values;
};

struct TableSpec {
  enum class Kind { accuracy, subnets, reduction, cost };
  std::string name, title, note = {};
  Kind kind = Kind::accuracy;
  std::vector<std::string> methods = {};     ///< or groups; of cost and reduction the first is the bank
  std::vector<std::string> tasks = {};       ///< "mean": over all tasks of the table
  std::vector<Value> values = {};            ///< columns of an accuracy table
  std::string subnets = "all";               ///< rows of a subnets table: all, corners
  std::vector<PublishedRow> published = {};  ///< of accuracy: below the measured rows
  std::string alone = {};                    ///< of cost: the method or group of subnets trained alone
};

struct PlotSpec {
  std::string name, title, x = "bitops", by = "method", task;
  std::vector<std::string> methods;
};

struct Experiment {
  std::string path;  ///< the file's
  std::string name, title, claim, base;
  Settings settings;
  std::vector<Task> tasks;
  std::vector<Method> methods;
  std::vector<Group> groups;
  std::vector<uint64_t> seeds;
  std::vector<RunSet> runs;
  Evaluation evaluation;
  std::vector<TableSpec> tables;
  std::vector<PlotSpec> plots;
  std::string footer = {};  ///< written below every table

  const Task& task(const std::string&) const;
  const Method& method(const std::string&) const;
  /// The methods of a group, or a method alone.
  std::vector<std::string> members(const std::string& method_or_group) const;
  std::string title_of(const std::string& method_or_group) const;
};

/// Reads and checks a file and what it includes. Throws std::invalid_argument naming the file, the key, and
/// the nearest known one or what is expected.
Experiment read_experiment(const std::string& path);
/// The same for the text of a file; `path` names it in errors, and what it includes is relative to that.
Experiment parse_experiment(const std::string& text, const std::string& path);

}  // namespace rtfq::experiment
