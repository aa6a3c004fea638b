#pragma once
// The one description of all configuration keys: reading files and --set, checking, printing and comparing
// configurations all go through it, so a new key is one line in config_keys.cpp.

#include <functional>
#include <string>
#include <vector>

#include "engine/json.h"
#include "training/config.h"

namespace rtfq::schema {

struct Field {
  std::string key;      ///< dotted: "train.steps"
  std::string expects;  ///< completes "expects ...": "an integer from 1 to 10"
  std::string doc;
  bool is_text = false;  ///< takes a --set value as it stands
  /// Only addressable: what it holds is printed and compared as part of another field ("bank.bits" of
  /// "bank").
  bool is_part = false;
  /// False, with the configuration unchanged, when the value is not what `expects` says.
  std::function<bool(Config&, const Json&)> read;
  std::function<Json(const Config&)> write;
  /// JSON Schema (draft 2020-12) of the value alone: type, range, choices. It accepts what `read` accepts, or
  /// less where only a check of the whole configuration knows better (two channels, precisions that are not
  /// built).
  std::function<Json()> schema = {};
};

/// In the order they are printed; fields of a section are neighbours.
const std::vector<Field>& fields();

/// JSON Schema (draft 2020-12) of a configuration file: every section and key with type, range, choices,
/// description and default; unknown keys are refused. What joins several keys (such as phases within
/// train.steps) it cannot say.
Json json_schema();

/// What a section is for: section_doc("train"); empty for others.
std::string section_doc(const std::string& section);

/// The known key or section closest to `key` by edit distance, where a right name in a wrong section is
/// close.
std::string nearest_key(const std::string& key);

/// Of `names`, which is not empty, the closest to `word` by edit distance.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

/// Keys whose values differ.
std::vector<std::string> differing_keys(const Config&, const Config&);

/// JSON with comments and trailing commas; throws std::invalid_argument with origin, line and column, also
/// for a key that an object holds twice.
Json parse_jsonc(const std::string& text, const std::string& origin);

}  // namespace rtfq::schema
