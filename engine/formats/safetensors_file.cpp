// Safetensors of any writer, as views: more types and dimensions than our own files have
// (engine/safetensors.h).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/formats/tensor_list.h"
#include "engine/json.h"

namespace rtfq::formats {
namespace {

struct TypeName {
  const char* name;
  ElementType type;
};
constexpr TypeName types[] = {{"F64", ElementType::f64}, {"F32", ElementType::f32},
                              {"F16", ElementType::f16}, {"BF16", ElementType::bf16},
                              {"I64", ElementType::i64}, {"I32", ElementType::i32},
                              {"I16", ElementType::i16}, {"I8", ElementType::i8},
                              {"U8", ElementType::u8},   {"BOOL", ElementType::boolean}};

ArrayView view_of(const std::string& name, const Json& entry, Bytes data) {
  const auto refuse = [&](const std::string& why) {
    throw FormatError("tensor " + shown_name(name) + " " + why);
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets") || !entry["dtype"].is_string() || !entry["shape"].is_array() ||
      !entry["data_offsets"].is_array())
    refuse("lacks dtype, shape or data_offsets");
  const std::string dtype = entry["dtype"].get<std::string>();
  const auto* type = std::find_if(std::begin(types), std::end(types),
                                  [&](const TypeName& known) { return known.name == dtype; });
  if (type == std::end(types)) refuse("has the unknown type " + shown_name(dtype));
  ArrayView view;
  view.type = type->type;
  for (const Json& size : entry["shape"]) {
    if (!size.is_number_unsigned()) refuse("has the shape " + shown_name(print_json(entry["shape"])));
    view.shape.push_back(static_cast<int64_t>(std::min<uint64_t>(size.get<uint64_t>(), INT64_MAX)));
  }
  const Json& offsets = entry["data_offsets"];
  if (offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    refuse("has the offsets " + shown_name(print_json(offsets)));
  const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  if (begin > end || end > data.size())
    refuse("has the offsets " + shown_name(print_json(offsets)) + " of " + std::to_string(data.size()) +
           " bytes");
  view.storage = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  view.strides = dense_strides(view.shape);
  checked(view, name);
  if (static_cast<uint64_t>(view.count()) * size_of(view.type) != end - begin)
    refuse("of shape " + shape_text(view.shape) + " has " + std::to_string(end - begin) + " bytes of data");
  return view;
}

}  // namespace

TensorList read_safetensors(Bytes file) {
  ByteReader reader(file);
  const auto length = reader.read<uint64_t>();
  const std::string text = reader.text(length);
  // JSON of arrays in arrays would be read by recursion; a header has objects in an object and arrays in
  // those.
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '[' || c == '{') && ++depth > 4)
      throw FormatError("the header is not that of a safetensors file");
    else if (!quoted && (c == ']' || c == '}'))
      --depth;
  }
  const Json header = parse_json(text);
  if (!header.is_object()) throw FormatError("the header is not that of a safetensors file");
  const Bytes data = reader.take(reader.left());
  TensorList list{"safetensors", {}, {}};
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      list.tensors.push_back({"", name, view_of(name, entry, data)});
      continue;
    }
    if (!entry.is_object()) throw FormatError("__metadata__ is not an object");
    for (const auto& [key, value] : entry.items())
      if (value.is_string()) list.metadata[key] = value.get<std::string>();
  }
  return list;
}

}  // namespace rtfq::formats
