#pragma once
// The field's benchmarks: which domains, tasks and counts a data set has, where its usual copies keep them,
// and the experiment (training/experiment.h) that its table is made by. training/benchmarks/*.jsonc describe
// them.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "training/experiment.h"

namespace rtfq::benchmark {

using experiment::Settings;

struct Domain {
  std::string code, title;         ///< "A", "Amazon"
  std::vector<std::string> names;  ///< of its folder, case, blanks, '_' and '-' aside
  std::vector<int64_t> images;     ///< counts that known copies have
  int64_t train = 0, test = 0;     ///< of the official lists, where the protocol has them
};

/// How a bank is trained.
struct Recipe {
  std::string base;  ///< preset
  Settings settings;
  std::vector<double>
      epochs;  ///< float, source, adapt: passes over the longer set; empty: the preset's steps
};

/// A number from a publication, as printed there; by task, or "mean".
struct Published {
  std::string title;
  std::map<std::string, std::string> values;
};

struct Protocol {
  std::string name, title, arch, metric;
  int64_t classes = 0;
  bool splits = false;  ///< official lists NAME_train.txt and NAME_test.txt are used where they are
  std::vector<Domain> domains;
  std::vector<std::string> tasks;  ///< "A2W"
  std::vector<std::string> methods;
  std::vector<Recipe> pretrained;  ///< one or none
  Recipe random;
  std::vector<Published> published;

  /// By code or name, case aside. Throws std::invalid_argument naming all.
  const Domain& domain(const std::string& code_or_name) const;
};

std::vector<std::string> protocol_names();
/// Throws std::invalid_argument naming the nearest and all.
const Protocol& protocol(const std::string& name);

/// Where a domain is, relative to the root.
struct Place {
  std::string train, test;  ///< what data.source and data.target name; `test` differs where lists are split
  int64_t train_images = 0, test_images = 0;
  std::string hash;  ///< SHA-256 of the lines "path<tab>class" of all images, paths within the domain
};

struct Located {
  std::map<std::string, Place> places;  ///< by code; a domain that is missing is not in it
  std::vector<std::string> notes;       ///< what is missing or surplus, for people
};

/// Finds the domains of `codes` in a folder or in the folders up to two levels below it: class folders, with
/// or without "images" above them, or list files. Throws std::invalid_argument where not one is there, or
/// where two differ in their classes.
Located locate(const Protocol&, const std::string& root, const std::vector<std::string>& codes);

struct Wanted {
  std::vector<std::string> tasks, methods;  ///< empty: the protocol's
  int seeds = 1;
  std::string arch, checkpoint;  ///< empty: the protocol's, random weights
  int64_t steps = 0;             ///< of a run, divided as the epochs are; 0: as many as the epochs take
  Settings settings;             ///< that the command line adds: they may decide the batch
};

/// The codes of a task: "A2W", case aside. Throws std::invalid_argument.
std::pair<std::string, std::string> domains_of(const Protocol&, const std::string& task);

/// Base preset and settings of one task; data locations begin with `root`.
struct Configured {
  std::string base;
  Settings settings;
};
Configured configure(const Protocol&, const Located&, const std::string& root, const std::string& task,
                     const Wanted&);

/// The text of an experiment file of the tasks whose domains are there; data locations begin with {root}.
/// `notes` takes what was left out. Throws std::invalid_argument where no task is left.
std::string experiment_text(const Protocol&, const Located&, const Wanted&, std::vector<std::string>& notes);

}  // namespace rtfq::benchmark
