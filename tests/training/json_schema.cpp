// The schema that editors use, against the reader of configurations. The validator here knows nothing of
// either.
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "training/config_schema.h"

using namespace rtfq;
using Catch::Matchers::Contains;

namespace {

bool has_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "number") return value.is_number();
  if (type == "integer")
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
  throw std::logic_error("type " + type + " is not one of JSON Schema's");
}

/// Why `value` does not meet `schema` (the keywords of draft 2020-12 that are used), or nothing. Throws for a
/// keyword that it does not know, so that none is overlooked.
std::string refusal(const Json& schema, const Json& value, const std::string& at = "") {
  static const std::set<std::string> annotations{"$schema", "title", "description", "default"};
  const auto no = [&](const std::string& why) { return (at.empty() ? "/" : at) + ": " + why; };
  for (const auto& [keyword, argument] : schema.items()) {
    if (annotations.contains(keyword)) continue;
    if (keyword == "type") {
      if (!has_type(value, argument.get<std::string>())) return no("is no " + argument.get<std::string>());
    } else if (keyword == "const") {
      if (value != argument) return no("is not " + argument.dump());
    } else if (keyword == "enum") {
      if (std::find(argument.begin(), argument.end(), value) == argument.end())
        return no("is none of " + argument.dump());
    } else if (keyword == "minimum") {
      if (value.is_number() && value.get<double>() < argument.get<double>()) return no("is too small");
    } else if (keyword == "exclusiveMinimum") {
      if (value.is_number() && value.get<double>() <= argument.get<double>()) return no("is too small");
    } else if (keyword == "maximum") {
      if (value.is_number() && value.get<double>() > argument.get<double>()) return no("is too large");
    } else if (keyword == "minItems") {
      if (value.is_array() && value.size() < argument.get<std::size_t>()) return no("has too few items");
    } else if (keyword == "items") {
      if (value.is_array())
        for (std::size_t i = 0; i < value.size(); ++i)
          if (auto why = refusal(argument, value[i], at + "/" + std::to_string(i)); !why.empty()) return why;
    } else if (keyword == "properties") {
      if (value.is_object())
        for (const auto& [name, member] : value.items())
          if (argument.contains(name))
            if (auto why = refusal(argument[name], member, at + "/" + name); !why.empty()) return why;
    } else if (keyword == "additionalProperties") {
      REQUIRE(argument == false);
      if (value.is_object())
        for (const auto& [name, member] : value.items())
          if (!schema.at("properties").contains(name)) return no("has an unknown member " + name);
    } else if (keyword == "anyOf") {
      if (std::none_of(argument.begin(), argument.end(),
                       [&](const Json& choice) { return refusal(choice, value, at).empty(); }))
        return no("meets no choice");
    } else {
      throw std::logic_error("unknown keyword " + keyword);
    }
  }
  return {};
}

std::string refusal_of(const std::string& jsonc) {
  static const Json schema = schema::json_schema();
  return refusal(schema, schema::parse_jsonc(jsonc, "test"));
}

/// {"a": {"b": value}} for the key "a.b".
Json nested(const std::string& key, const Json& value) {
  const std::size_t dot = key.find('.');
  if (dot == key.npos) return {{key, value}};
  return {{key.substr(0, dot), nested(key.substr(dot + 1), value)}};
}

/// The schema of one key, found by walking down as an editor does.
const Json& schema_at(const Json& root, const std::string& key) {
  const std::size_t dot = key.find('.');
  const Json& members = root.contains("anyOf") ? root["anyOf"].back() : root;
  const Json& found = members.at("properties").at(key.substr(0, dot));
  return dot == key.npos ? found : schema_at(found, key.substr(dot + 1));
}

}  // namespace

TEST_CASE("schema: presets, defaults and what `rtfq config` prints are valid") {
  CHECK(refusal_of("{}") == "");
  CHECK(refusal_of(commented(parse_config("{}", "defaults"))) == "");
  for (const std::string& name : preset_names()) {
    INFO(name);
    CHECK(refusal_of(preset_text(name)) == "");
    CHECK(refusal_of(commented(parse_config(preset_text(name), name))) == "");
  }
  CHECK(refusal_of(R"({"bank": {"widths": [1, 0.5], "bits": [8, 32], "multiple": 8}})") == "");
  CHECK(refusal_of(R"({"train": {"steps": 1e3}})") == "");
  // An editor's pointer to the schema is no unknown key, neither here nor to the reader.
  CHECK(refusal_of(R"({"$schema": "rtfq.schema.json"})") == "");
  CHECK_NOTHROW(parse_config(R"({"$schema": "rtfq.schema.json"})", "test"));
  CHECK_THROWS_WITH(parse_config(R"({"$schema": 5})", "test"), Contains("$schema"));
}

TEST_CASE("schema: wrong values, wrong places and unknown keys are not") {
  CHECK_THAT(refusal_of(R"({"train": {"steps": "many"}})"), Contains("/train/steps: is no integer"));
  CHECK_THAT(refusal_of(R"({"train": {"steps": 1.5}})"), Contains("/train/steps"));
  CHECK_THAT(refusal_of(R"({"train": {"steps": 0}})"), Contains("too small"));
  CHECK_THAT(refusal_of(R"({"train": {"step": 5}})"), Contains("unknown member step"));
  CHECK_THAT(refusal_of(R"({"trian": {}})"), Contains("unknown member trian"));
  CHECK_THAT(refusal_of(R"({"train": 5})"), Contains("is no object"));
  CHECK_THAT(refusal_of(R"({"loss": {"student_temperature": 0}})"), Contains("too small"));
  CHECK_THAT(refusal_of(R"({"loss": {"pseudo_threshold": 1.5}})"), Contains("too large"));
  CHECK_THAT(refusal_of(R"({"optimizer": {"schedule": "cosin"}})"), Contains("is none of"));
  CHECK_THAT(refusal_of(R"({"data": {"mean": []}})"), Contains("too few"));
  CHECK_THAT(refusal_of(R"({"data": {"channels": 2}})"), Contains("is none of"));
  CHECK_THAT(refusal_of(R"({"data": {"source_hold_out": 1}})"), Contains("meets no choice"));
  CHECK_THAT(refusal_of(R"({"bank": "rtfq49"})"), Contains("meets no choice"));
  CHECK_THAT(refusal_of(R"({"bank": {"bits": [8, 9]}})"), Contains("meets no choice"));
  CHECK_THAT(refusal_of(R"({"bank": {"bit": [8]}})"), Contains("meets no choice"));
  CHECK_THAT(refusal_of(R"({"precision": "f64"})"), Contains("is none of"));
}

TEST_CASE("schema: a value is valid where the reader takes it") {
  const std::vector<std::string> probes{"null",      "true", "-1e300",    "-1",  "0",      "0.25",  "0.5",
                                        "1",         "1.5",  "2",         "3",   "8",      "9",     "32",
                                        "100",       "5000", "1e3",       "2e9", "1e13",   "1e300", "\"\"",
                                        "\"some\"",  "[]",   "[0.5]",     "[1]", "[8, 4]", "[16]",  "[2e9]",
                                        "[1, true]", "{}",   "{\"a\": 1}"};
  const Json root = schema::json_schema();
  int taken = 0, refused = 0;
  for (const schema::Field& field : schema::fields()) {
    const Json& own = schema_at(root, field.key);
    CHECK(own.at("description") == field.doc);
    CHECK(refusal(own, own.at("default")) == "");
    for (const std::string& probe : probes) {
      const Json value = parse_json(probe);
      if (field.key == "bank" && value.is_object()) continue;  // read through its parts
      INFO(field.key << " = " << probe);
      Config config = parse_config("{}", "defaults");
      const bool reads = field.read(config, value), valid = refusal(own, value).empty();
      if (reads != valid) {
        // Only the whole configuration's check may know better.
        CHECK(reads);
        CHECK_THROWS_AS(parse_config(nested(field.key, value).dump(), "test"), std::invalid_argument);
      }
      ++(valid ? taken : refused);
    }
  }
  CHECK(taken > 200);
  CHECK(refused > 1000);
}
