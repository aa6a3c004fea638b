#pragma once
// Values of an experiment file: each is checked as it is read, and what is wrong with it says the file and
// key. Private to training/experiment_format.cpp.

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "training/config_schema.h"
#include "training/experiment.h"

namespace rtfq::experiment {

using Names = std::vector<std::string>;

/// A place in a file, for messages.
struct Place {
  std::string file, key;
  Place at(const std::string& member) const { return {file, key.empty() ? member : key + "." + member}; }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument("[experiment] " + file + ": " + (key.empty() ? "" : key + ": ") + what);
  }
};

/// A value as messages show it, cut where it is long.
std::string shown(const Json& value);
const Json& object(const Json& json, const Place& place);
std::string text(const Json& json, const Place& place);
bool yes_no(const Json& json, const Place& place);
/// A list of texts, or one text alone.
Names texts(const Json& json, const Place& place);
std::string choice(const Json& json, const Names& choices, const Place& place);
std::vector<uint64_t> seeds(const Json& json, const Place& place);
const std::string& known(const std::string& name, const Names& names, const char* what, const Place& place);
void require_keys(const Json& json, const Names& keys, const Place& place);
/// Names become folders, and parts of "task/method/seed1".
void require_plain_name(const std::string& name, const Place& place);
/// Members that are keys of the configuration; `own` are others that the caller reads.
Settings settings(const Json& json, const Names& own, const Place& place);
/// A preset's name as it stands, a file's relative to the experiment's folder.
std::string base(const Json& json, const Place& place);

}  // namespace rtfq::experiment
