// The description of all keys as JSON Schema, for editors.
#include <nlohmann/json.hpp>

#include "training/config_schema.h"

namespace rtfq::schema {
namespace {

Json object_schema(const std::string& description) {
  Json schema = Json::object();
  if (!description.empty()) schema["description"] = description;
  schema["type"] = "object";
  schema["properties"] = Json::object();
  schema["additionalProperties"] = false;
  return schema;
}

/// The object below `root` whose properties a key belongs to: of "data.augmentation.crop" that of
/// data.augmentation, made where it is missing.
Json& section_of(Json& root, const std::string& key) {
  Json* object = &root;
  for (std::size_t begin = 0, dot; (dot = key.find('.', begin)) != key.npos; begin = dot + 1) {
    Json& properties = (*object)["properties"];
    const std::string name = key.substr(begin, dot - begin);
    if (!properties.contains(name)) properties[name] = object_schema(section_doc(key.substr(0, dot)));
    // A key that is also a section (the bank): a value of its own, or an object of its parts.
    Json& found = properties[name];
    object = found.contains("anyOf") ? &found["anyOf"].back() : &found;
  }
  return *object;
}

bool has_parts(const Field& field) {
  for (const Field& other : fields())
    if (other.is_part && other.key.starts_with(field.key + ".")) return true;
  return false;
}

}  // namespace

Json json_schema() {
  const Config defaults = parse_config("{}", "defaults");
  Config with_defaults_of_parts = defaults;
  with_defaults_of_parts.model.bank = Bank{};  // what an object of the bank starts from
  Json root{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "configuration of rtfq"}};
  root.update(object_schema("What `rtfq train` reads. Comments and trailing commas are allowed."));
  root["properties"]["$schema"] = {{"description", "for editors: where this schema is; not read"},
                                   {"type", "string"}};
  for (const Field& field : fields()) {
    Json schema{{"description", field.doc}};
    if (has_parts(field))
      schema["anyOf"] = Json::array({field.schema(), object_schema("")});
    else
      schema.update(field.schema());
    schema["default"] = field.write(field.is_part ? with_defaults_of_parts : defaults);
    section_of(root, field.key)["properties"][field.key.substr(field.key.rfind('.') + 1)] = std::move(schema);
  }
  return root;
}

}  // namespace rtfq::schema
