#include "training/experiment_json.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace rtfq::experiment {
namespace fs = std::filesystem;
namespace {

std::string listed(const Names& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

/// A setting as --set takes it. Text stays as it is unless it would be read as something else.
std::string setting(const std::string& key, const Json& value) {
  if (!value.is_string()) return key + "=" + print_json(value);
  const auto word = value.get<std::string>();
  return key + "=" + (parse_json(word).is_discarded() ? word : print_json(value));
}

}  // namespace

std::string shown(const Json& value) {
  const std::string text = print_json(value);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

const Json& object(const Json& json, const Place& place) {
  if (!json.is_object()) place.fail("expected an object {...}, got " + shown(json));
  return json;
}

std::string text(const Json& json, const Place& place) {
  if (!json.is_string()) place.fail("expected text, got " + shown(json));
  return json.get<std::string>();
}

bool yes_no(const Json& json, const Place& place) {
  if (!json.is_boolean()) place.fail("expected true or false, got " + shown(json));
  return json.get<bool>();
}

Names texts(const Json& json, const Place& place) {
  if (json.is_string()) return {json.get<std::string>()};
  if (!json.is_array()) place.fail("expected a list of texts, got " + shown(json));
  Names out;
  for (const Json& item : json) out.push_back(text(item, place));
  return out;
}

std::string choice(const Json& json, const Names& choices, const Place& place) {
  const std::string word = text(json, place);
  if (std::find(choices.begin(), choices.end(), word) == choices.end())
    place.fail("expected one of " + listed(choices) + ", got '" + word + "'");
  return word;
}

std::vector<uint64_t> seeds(const Json& json, const Place& place) {
  std::vector<uint64_t> out;
  if (json.is_array())
    for (const Json& item : json) {
      if (!item.is_number_unsigned()) place.fail("expected whole numbers from 0, got " + shown(item));
      out.push_back(item.get<uint64_t>());
    }
  if (out.empty()) place.fail("expected a list of seeds such as [1, 2, 3], got " + shown(json));
  if (std::set(out.begin(), out.end()).size() != out.size()) place.fail("a seed appears twice");
  return out;
}

const std::string& known(const std::string& name, const Names& names, const char* what, const Place& place) {
  if (std::find(names.begin(), names.end(), name) == names.end())
    place.fail("unknown " + std::string(what) + " '" + name + "': did you mean '" +
               schema::nearest(name, names) + "'? Known are " + listed(names));
  return name;
}

void require_keys(const Json& json, const Names& keys, const Place& place) {
  for (const auto& [key, value] : object(json, place).items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      place.fail("unknown key '" + key + "': did you mean '" + schema::nearest(key, keys) + "'?");
}

void require_plain_name(const std::string& name, const Place& place) {
  const bool plain = !name.empty() && name[0] != '.' && name[0] != '-' &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '_' || c == '-' || c == '.';
                     });
  if (!plain || name == "mean")
    place.fail("a name is made of letters, digits, '_', '-' and '.', and is not 'mean', got '" + name + "'");
}

Settings settings(const Json& json, const Names& own, const Place& place) {
  Settings out;
  Names all = own;
  for (const schema::Field& field : schema::fields()) all.push_back(field.key);
  for (const auto& [key, value] : object(json, place).items()) {
    if (std::find(own.begin(), own.end(), key) != own.end()) continue;
    if (std::find(all.begin(), all.end(), key) == all.end())
      place.fail("unknown key '" + key + "': did you mean '" + schema::nearest(key, all) + "'?");
    if (key == "train.seed") place.fail("train.seed is set by the seeds of the experiment");
    out.push_back(setting(key, value));
  }
  return out;
}

std::string base(const Json& json, const Place& place) {
  const std::string word = text(json, place);
  if (!word.ends_with(".jsonc") && !word.ends_with(".json")) {
    known(word, preset_names(), "preset", place);
    return word;
  }
  const fs::path path = (fs::path(place.file).parent_path() / word).lexically_normal();
  if (!fs::exists(path)) place.fail("there is no file " + path.string());
  return path.string();
}

}  // namespace rtfq::experiment
