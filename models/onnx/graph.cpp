// onnx.proto3 of ONNX 1.15 has the field numbers.
#include "models/onnx/graph.h"

namespace rtfq::onnx {
namespace {

// Wire types: 0 varint, 2 length-delimited.
void varint(std::string& to, uint64_t value) {
  for (; value >= 128; value >>= 7) to += static_cast<char>(value | 128);
  to += static_cast<char>(value);
}
void number(std::string& to, int field, int64_t value) {
  varint(to, static_cast<uint64_t>(field) << 3);
  varint(to, static_cast<uint64_t>(value));
}
void bytes(std::string& to, int field, std::string_view value) {
  varint(to, static_cast<uint64_t>(field) << 3 | 2);
  varint(to, value.size());
  to += value;
}

enum TensorType { type_float = 1, type_uint8 = 2, type_int8 = 3 };
enum AttributeType { attribute_int = 2, attribute_ints = 7 };

std::string value_info(const std::string& name, const std::vector<int64_t>& dims) {
  std::string shape;
  for (const int64_t dim : dims) {
    std::string one;
    if (dim < 0)
      bytes(one, 2, "batch");
    else
      number(one, 1, dim);
    bytes(shape, 1, one);
  }
  std::string tensor, type, info;
  number(tensor, 1, type_float);
  bytes(tensor, 2, shape);
  bytes(type, 1, tensor);
  bytes(info, 1, name);
  bytes(info, 2, type);
  return info;
}

}  // namespace

std::string Graph::tensor(const std::string& name, int type, const std::vector<int64_t>& dims,
                          const void* data, std::size_t size) {
  std::string proto;
  for (const int64_t dim : dims) number(proto, 1, dim);
  number(proto, 2, type);
  bytes(proto, 8, name);
  bytes(proto, 9, {static_cast<const char*>(data), size});
  bytes(constants_, 5, proto);
  return name;
}

std::string Graph::constant(const std::string& name, std::span<const float> values,
                            const std::vector<int64_t>& dims) {
  return tensor(name, type_float, dims, values.data(), values.size_bytes());
}
std::string Graph::constant(const std::string& name, std::span<const int8_t> values,
                            const std::vector<int64_t>& dims) {
  return tensor(name, type_int8, dims, values.data(), values.size_bytes());
}
std::string Graph::constant(const std::string& name, std::span<const uint8_t> values,
                            const std::vector<int64_t>& dims) {
  return tensor(name, type_uint8, dims, values.data(), values.size_bytes());
}

std::string Graph::node(const std::string& op, const std::string& name,
                        const std::vector<std::string>& inputs, const Attributes& attributes) {
  std::string proto;
  for (const std::string& input : inputs) bytes(proto, 1, input);
  bytes(proto, 2, name);
  bytes(proto, 3, name);
  bytes(proto, 4, op);
  for (const auto& [key, value] : attributes) {
    std::string attribute;
    bytes(attribute, 1, key);
    if (const auto* one = std::get_if<int64_t>(&value)) {
      number(attribute, 3, *one);
      number(attribute, 20, attribute_int);
    } else {
      for (const int64_t item : std::get<std::vector<int64_t>>(value)) number(attribute, 8, item);
      number(attribute, 20, attribute_ints);
    }
    bytes(proto, 5, attribute);
  }
  bytes(nodes_, 1, proto);
  return name;
}

void Graph::input(const std::string& name, const std::vector<int64_t>& dims) {
  bytes(inputs_, 11, value_info(name, dims));
}
void Graph::output(const std::string& name, const std::vector<int64_t>& dims) {
  bytes(outputs_, 12, value_info(name, dims));
}

std::string Graph::model(const std::string& producer,
                         const std::vector<std::pair<std::string, std::string>>& metadata) const {
  std::string graph = nodes_;
  bytes(graph, 2, name_);
  graph += constants_ + inputs_ + outputs_;
  std::string proto, opset;
  number(proto, 1, 8);  // the version of the format that goes with opset 13 and later
  bytes(proto, 2, producer);
  bytes(proto, 7, graph);
  bytes(opset, 1, "");
  number(opset, 2, 13);
  bytes(proto, 8, opset);
  for (const auto& [key, value] : metadata) {
    std::string entry;
    bytes(entry, 1, key);
    bytes(entry, 2, value);
    bytes(proto, 14, entry);
  }
  return proto;
}

}  // namespace rtfq::onnx
