#include "training/config.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "engine/utf8.h"
#include "kernels/runtime/device.h"
#include "training/config_schema.h"
#include "training/presets.h"

namespace rtfq {
namespace {

using schema::Field;

[[noreturn]] void fail(const std::string& origin, const std::string& what) {
  throw std::invalid_argument("[config] " + origin + ": " + what);
}

/// A value as an error shows it: short, with its kind where that is the trouble.
std::string shown(const Json& value) {
  std::string text = print_json(value);
  if (text.size() > 60) text.replace(57, text.npos, "...");
  const std::string kind = value.type_name();
  return kind == "string" || kind == "number" ? text + " (" + (kind == "string" ? "text" : kind) + ")" : text;
}

const Field* find_field(const std::string& key) {
  for (const Field& field : schema::fields())
    if (field.key == key) return &field;
  return nullptr;
}

bool is_section(const std::string& key) {
  return std::any_of(schema::fields().begin(), schema::fields().end(),
                     [&](const Field& field) { return field.key.rfind(key + ".", 0) == 0; });
}

void read_value(Config& config, const std::string& key, const Json& value, const std::string& origin) {
  const Field* field = find_field(key);
  const bool section = is_section(key);
  if (!field && !section)
    fail(origin, "unknown key '" + key + "': did you mean '" + schema::nearest_key(key) +
                     "'? `rtfq config` prints every key");
  if (field && !(value.is_object() && !section)) {
    if (!field->read(config, value))
      fail(origin, key + " expects " + field->expects + ", got " + shown(value));
  } else if (!value.is_object() || !section) {
    fail(origin, key + " expects " + (field ? field->expects : "an object {...}: it is a section") +
                     ", got " + shown(value));
  }
  if (value.is_object())
    for (const auto& [name, member] : value.items()) read_value(config, key + "." + name, member, origin);
}

void read_object(Config& config, const Json& root, const std::string& origin) {
  if (!root.is_object()) fail(origin, "expected an object {...}, got " + shown(root));
  for (const auto& [name, member] : root.items())
    if (name != "$schema" || !member.is_string())  // for editors: where the schema is
      read_value(config, name, member, origin);
}

/// "train.steps=100". The value is JSON where it is some; anything else, and whatever a text key gets, is
/// text.
void read_override(Config& config, const std::string& setting) {
  const std::string origin = "--set " + setting;
  const std::size_t equals = setting.find('=');
  if (equals == 0 || equals == setting.npos) fail(origin, "expected key=value, as in train.steps=100");
  const std::string key = setting.substr(0, equals), text = setting.substr(equals + 1);
  if (!is_utf8(setting)) throw std::invalid_argument("[config] --set " + key + ": the value is not UTF-8");
  Json value = parse_json(text);
  const Field* field = find_field(key);
  if (value.is_discarded() || (field && field->is_text && !value.is_string() && !value.is_object()))
    value = text;
  read_value(config, key, value, origin);
}

/// What no key can check alone.
void check(Config& config, const std::string& origin) {
  try {
    config.model.bank = checked(config.model.bank);
    data::check(config.data.augmentation, config.model.bank.largest().resolution);
    kernels::parse_device(config.device);
  } catch (const std::invalid_argument& error) {
    fail(origin, error.what());
  }
  if (config.graphs && config.device == "cpu")
    fail(origin, "graphs=true expects device=cuda or simt, got cpu: it has no graphs");
  const DataConfig& data = config.data;
  if (data.channels == 2) fail(origin, "data.channels expects 1 (grey) or 3 (RGB), got 2");
  const auto one_a_channel = [&](const char* key, const std::vector<float>& values) {
    if (values.size() != static_cast<std::size_t>(data.channels))
      fail(origin, std::string(key) + " expects " + std::to_string(data.channels) +
                       " number(s), one for each of data.channels, got " + std::to_string(values.size()));
  };
  one_a_channel("data.mean", data.mean);
  one_a_channel("data.deviation", data.deviation);
  if (data.hold_out == 1)
    fail(origin, "data.hold_out expects 0 or at least 2, got 1: it would keep every target image out");
  if (config.model.first_last_bits == 1) fail(origin, "model.first_last_bits expects 0 or 2 to 8, got 1");
  const TrainConfig& train = config.train;
  try {
    parse_subnet(train.subnet, config.model.bank);
  } catch (const std::invalid_argument& error) {
    fail(origin, std::string("train.subnet: ") + error.what());
  }
  if (!train.subnet.empty() && train.method == "rtfq" && train.sampler != "fixed")
    fail(origin, "train.subnet is for sampler fixed and methods source_only and mcc, but the sampler is " +
                     train.sampler + ": leave it empty or set train.sampler=fixed");
  if (train.float_steps + train.source_steps > train.steps)
    fail(origin, "train.float_steps (" + std::to_string(train.float_steps) + ") and train.source_steps (" +
                     std::to_string(train.source_steps) + ") are part of train.steps (" +
                     std::to_string(train.steps) + "), but sum to more: raise train.steps or lower them");
}

std::size_t depth_of(const std::string& key) {
  return static_cast<std::size_t>(std::count(key.begin(), key.end(), '.'));
}

/// The first `components` components of a dotted key.
std::string leading(const std::string& key, std::size_t components) {
  std::size_t end = 0;
  for (std::size_t i = 0; i < components && end != key.npos; ++i) end = key.find('.', end + (i > 0));
  return key.substr(0, end);
}

void comment(std::string& out, const std::string& indent, const std::string& text) {
  constexpr std::size_t columns = 110;
  std::istringstream words(text);
  std::string line = indent + "//";
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > columns) out += std::exchange(line, indent + "//") + "\n";
    line += " " + word;
  }
  out += line + "\n";
}

/// Members of the object that the fields [begin, end) share, at `depth` components.
void print_members(std::string& out, const Config& config, std::span<const Field* const> fields,
                   std::size_t depth) {
  const std::string indent(2 * (depth + 1), ' ');
  for (std::size_t i = 0; i < fields.size();) {
    const std::string name = leading(fields[i]->key, depth + 1);
    std::size_t next = i + 1;
    while (next < fields.size() && leading(fields[next]->key, depth + 1) == name) ++next;
    const std::string quoted = indent + "\"" + name.substr(name.rfind('.') + 1) + "\": ";
    if (depth_of(fields[i]->key) > depth) {
      if (const std::string doc = schema::section_doc(name); !doc.empty()) comment(out, indent, doc);
      out += quoted + "{\n";
      print_members(out, config, fields.subspan(i, next - i), depth + 1);
      out += indent + "}";
    } else {
      comment(out, indent, fields[i]->doc + " [" + fields[i]->expects + "]");
      out += quoted + print_json(fields[i]->write(config));
    }
    out += next < fields.size() ? ",\n" : "\n";
    i = next;
  }
}

}  // namespace

Config parse_config(const std::string& text, const std::string& origin,
                    const std::vector<std::string>& overrides) {
  Config config;
  config.model.bank = bank_preset("rtfq48");
  read_object(config, schema::parse_jsonc(text, origin), origin);
  for (const std::string& setting : overrides) read_override(config, setting);
  config.data.augmentation.resize = config.data.resize;
  config.data.augmentation.squash = config.data.resize_mode == "squash";
  config.data.augmentation.bicubic = config.data.interpolation == "bicubic";
  check(config, origin);
  return config;
}

Config read_config(const std::string& path, const std::vector<std::string>& overrides) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf()))
    throw std::invalid_argument("[config] cannot read " + path +
                                ": give a .jsonc file; `rtfq config` lists the presets");
  return parse_config(text.str(), path, overrides);
}

std::string to_json(const Config& config) {
  Json root = Json::object();
  for (const Field& field : schema::fields()) {
    if (field.is_part) continue;
    std::string pointer = "/" + field.key;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    root[Json::json_pointer(pointer)] = field.write(config);
  }
  return print_json(root);
}

std::string commented(const Config& config) {
  std::vector<const Field*> printed;
  for (const Field& field : schema::fields())
    if (!field.is_part) printed.push_back(&field);
  std::string out = "{\n";
  print_members(out, config, printed, 0);
  return out + "}\n";
}

std::string preset_text(const std::string& name) {
  std::string known;
  for (const Preset& preset : presets()) {
    if (name == preset.name) return preset.text;
    known += std::string(known.empty() ? "" : ", ") + preset.name;
  }
  throw std::invalid_argument("[config] unknown preset '" + name + "': expected one of " + known);
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

}  // namespace rtfq
