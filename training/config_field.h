#pragma once
// The kinds of keys that a configuration has: how each is read, checked, printed and described to editors.
// Private to training/config_keys.cpp.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "training/config_schema.h"

namespace rtfq::schema {

constexpr double unlimited = std::numeric_limits<double>::infinity();
constexpr double practically_unlimited =
    1e9;  // bounds from here on only keep sums from overflowing; not worth saying

struct Range {
  double low = -unlimited, high = unlimited;
  bool above_low = false;  ///< `low` itself is not in it
  bool or_zero = false;

  bool holds(double v) const {
    return (or_zero && v == 0) || ((above_low ? v > low : v >= low) && v <= high && std::isfinite(v));
  }
  std::string words() const {
    const auto number = [](double v) {
      return print_json(v == std::floor(v) && std::abs(v) < 1e15 ? Json(static_cast<int64_t>(v)) : Json(v));
    };
    std::string out = or_zero ? " that is 0 or" : "";
    if (low > -unlimited && high < practically_unlimited)
      out += (above_low ? " above " + number(low) + " and up to " : " from " + number(low) + " to ") +
             number(high);
    else if (low > -unlimited)
      out += (above_low ? " above " : " of at least ") + number(low);
    return out;
  }
};

/// The schema of a number of a range. JSON Schema's integers are what number_of takes: 1e3 is one.
inline Json schema_of(const Range& range, bool integer) {
  Json schema{{"type", integer ? "integer" : "number"}};
  const auto bound = [&](const char* keyword, double value) {
    if (std::isinf(value)) return;
    if (value == std::floor(value) && std::abs(value) < 9e15)
      schema[keyword] = static_cast<int64_t>(value);
    else
      schema[keyword] = value;
  };
  bound(range.above_low ? "exclusiveMinimum" : "minimum", range.low);
  bound("maximum", range.high);
  if (!range.or_zero) return schema;
  return {{"anyOf", Json::array({Json{{"const", 0}}, schema})}};
}

/// The value as a T, or nothing when it has another type or T cannot hold it. 1e3 is an integer; 1.5 and true
/// are not.
template <class T>
std::optional<T> number_of(const Json& json) {
  if (!json.is_number()) return {};
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(json.get<double>());
  } else {
    if (json.is_number_float()) {
      const double v = json.get<double>();
      if (v != std::floor(v) || std::abs(v) > 9007199254740992.0 || (std::is_unsigned_v<T> && v < 0))
        return {};
      if (!std::in_range<T>(static_cast<int64_t>(v))) return {};
      return static_cast<T>(v);
    }
    if (json.is_number_unsigned()) {
      const auto v = json.get<uint64_t>();
      return std::in_range<T>(v) ? std::optional<T>(static_cast<T>(v)) : std::nullopt;
    }
    const auto v = json.get<int64_t>();
    return std::in_range<T>(v) ? std::optional<T>(static_cast<T>(v)) : std::nullopt;
  }
}

/// A number that prints as it was written: 0.15, not the double next to the float 0.15f.
template <class T>
Json json_of(T value) {
  if constexpr (std::is_same_v<T, float>) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return parse_json(std::string(text, end));
  } else {
    return value;
  }
}

/// The member a key names. A plain function, so that fields of one type share their code.
template <class T>
using Member = T& (*)(Config&);

template <class T>
const T& value(Member<T> member, const Config& config) {
  return member(const_cast<Config&>(config));  // only read
}

template <class T>
Field number(const char* key, Member<T> member, Range range, const char* doc) {
  Field field{
      key, (std::is_floating_point_v<T> ? "a number" : "an integer") + range.words(), doc, false, false, {},
      {}};
  field.read = [=](Config& config, const Json& json) {
    const auto number = number_of<T>(json);
    if (!number || !range.holds(static_cast<double>(*number))) return false;
    member(config) = *number;
    return true;
  };
  field.write = [=](const Config& config) { return json_of(value(member, config)); };
  field.schema = [=] {
    Range stored = range;  // what T can hold
    if constexpr (std::is_integral_v<T>) {
      stored.low = std::max(range.low, static_cast<double>(std::numeric_limits<T>::min()));
      stored.high = std::min(range.high, static_cast<double>(std::numeric_limits<T>::max()));
    }
    return schema_of(stored, std::is_integral_v<T>);
  };
  return field;
}

template <class T>
Field numbers(const char* key, Member<std::vector<T>> member, Range range, const char* doc) {
  Field field{
      key,
      std::string("a list of ") + (std::is_floating_point_v<T> ? "numbers" : "integers") + range.words(),
      doc,
      false,
      false,
      {},
      {}};
  field.read = [=](Config& config, const Json& json) {
    if (!json.is_array() || json.empty()) return false;
    std::vector<T> values;
    for (const Json& item : json) {
      const auto number = number_of<T>(item);
      if (!number || !range.holds(static_cast<double>(*number))) return false;
      values.push_back(*number);
    }
    member(config) = values;
    return true;
  };
  field.write = [=](const Config& config) {
    Json out = Json::array();
    for (const T number : value(member, config)) out.push_back(json_of(number));
    return out;
  };
  field.schema = [=] {
    return Json{{"type", "array"}, {"items", schema_of(range, std::is_integral_v<T>)}, {"minItems", 1}};
  };
  return field;
}

inline Field yes_no(const char* key, Member<bool> member, const char* doc) {
  Field field{key, "true or false", doc, false, false, {}, {}};
  field.read = [=](Config& config, const Json& json) {
    if (!json.is_boolean()) return false;
    member(config) = json.get<bool>();
    return true;
  };
  field.write = [=](const Config& config) { return Json(value(member, config)); };
  field.schema = [] { return Json{{"type", "boolean"}}; };
  return field;
}

/// Text; with `choices`, one of them.
inline Field text(const char* key, Member<std::string> member, std::vector<std::string> choices,
                  const char* doc) {
  std::string expects = "text";
  for (std::size_t i = 0; i < choices.size(); ++i)
    expects = i == 0 ? "\"" + choices[0] + "\""
                     : expects + (i + 1 == choices.size() ? " or \"" : ", \"") + choices[i] + "\"";
  Field field{key, expects, doc, true, false, {}, {}};
  field.read = [=](Config& config, const Json& json) {
    if (!json.is_string()) return false;
    const auto word = json.get<std::string>();
    if (!choices.empty() && std::find(choices.begin(), choices.end(), word) == choices.end()) return false;
    member(config) = word;
    return true;
  };
  field.write = [=](const Config& config) { return Json(value(member, config)); };
  field.schema = [=] {
    Json schema{{"type", "string"}};
    if (!choices.empty()) schema["enum"] = choices;
    return schema;
  };
  return field;
}

inline Field texts(const char* key, Member<std::vector<std::string>> member, const char* doc) {
  Field field{key, "a list of texts", doc, false, false, {}, {}};
  field.read = [=](Config& config, const Json& json) {
    if (!json.is_array()) return false;
    std::vector<std::string> words;
    for (const Json& item : json) {
      if (!item.is_string()) return false;
      words.push_back(item.get<std::string>());
    }
    member(config) = words;
    return true;
  };
  field.write = [=](const Config& config) { return Json(value(member, config)); };
  field.schema = [] { return Json{{"type", "array"}, {"items", {{"type", "string"}}}}; };
  return field;
}

inline Json bank_json(const Bank& bank) {
  for (const std::string& name : bank_presets())
    if (bank == bank_preset(name)) return name;
  return {{"widths", bank.widths},
          {"depths", bank.depths},
          {"resolutions", bank.resolutions},
          {"bits", bank.bits},
          {"multiple", bank.multiple}};
}

/// The bank as a whole: the name of a preset. An object is read through its parts, from Bank's defaults.
inline Field bank_field() {
  std::string expects;
  for (const std::string& name : bank_presets()) expects += (expects.empty() ? "\"" : ", \"") + name + "\"";
  Field field{"bank",
              expects + " or an object {widths, depths, resolutions, bits, multiple}",
              "the subnets that one set of weights serves: all combinations of four lists",
              true,
              false,
              {},
              {}};
  field.read = [](Config& config, const Json& json) {
    if (json.is_object()) {
      config.model.bank = Bank{};
      return true;
    }
    const auto names = bank_presets();
    if (!json.is_string() || std::find(names.begin(), names.end(), json.get<std::string>()) == names.end())
      return false;
    config.model.bank = bank_preset(json.get<std::string>());
    return true;
  };
  field.write = [](const Config& config) { return bank_json(config.model.bank); };
  field.schema = [] { return Json{{"type", "string"}, {"enum", bank_presets()}}; };
  return field;
}

/// The values that the check of the whole configuration lets pass, for the schema; of a list: of each item.
template <class T>
Field narrowed(Field field, std::vector<T> values) {
  field.schema = [whole = field.schema, values = std::move(values)] {
    Json schema = whole();
    (schema.contains("items") ? schema["items"] : schema) = {{"enum", values}};
    return schema;
  };
  return field;
}

inline Field part(Field field) {
  field.is_part = true;
  return field;
}

}  // namespace rtfq::schema
