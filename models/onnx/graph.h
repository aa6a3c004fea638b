#pragma once
// An ONNX model written as its protocol buffer's bytes; operators of opset 13, which need no library.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace rtfq::onnx {

/// An attribute: an integer, or several.
using Value = std::variant<int64_t, std::vector<int64_t>>;
using Attributes = std::vector<std::pair<std::string, Value>>;

class Graph {
 public:
  explicit Graph(std::string name) : name_(std::move(name)) {}

  /// A constant; returns its name.
  std::string constant(const std::string& name, std::span<const float> values,
                       const std::vector<int64_t>& dims);
  std::string constant(const std::string& name, std::span<const int8_t> values,
                       const std::vector<int64_t>& dims);
  std::string constant(const std::string& name, std::span<const uint8_t> values,
                       const std::vector<int64_t>& dims);
  /// A node with one output, which has the node's name; returns it.
  std::string node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                   const Attributes& attributes = {});
  /// f32 tensors; a dimension of -1 is the batch.
  void input(const std::string& name, const std::vector<int64_t>& dims);
  void output(const std::string& name, const std::vector<int64_t>& dims);

  /// The file. `metadata`: key and value.
  std::string model(const std::string& producer,
                    const std::vector<std::pair<std::string, std::string>>& metadata) const;

 private:
  std::string tensor(const std::string& name, int type, const std::vector<int64_t>& dims, const void* data,
                     std::size_t bytes);
  std::string name_, nodes_, constants_, inputs_, outputs_;
};

}  // namespace rtfq::onnx
