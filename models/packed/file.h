#pragma once
// The container of a packed model: header, JSON metadata, aligned tensors, checksums (docs/format.md). It
// knows nothing of networks.

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/formats/bytes.h"
#include "engine/json.h"

namespace rtfq::packed {

using formats::Bytes;
using formats::FormatError;

inline constexpr uint32_t format_version = 1;  ///< what is written; earlier ones are read, later ones are not
inline constexpr uint64_t tensor_alignment = 64;
inline constexpr uint64_t max_metadata_bytes = 4u << 20;

/// "f32", or codes at their true width: "s2" ... "s8".
struct Tensor {
  std::string name;
  int bits = 32;  ///< 32: f32
  std::vector<int64_t> shape;
  Bytes data;

  int64_t count() const;
};

/// Tensors by name; those with the same contents are stored once.
class FileWriter {
 public:
  void add(const std::string& name, std::span<const float> values, std::vector<int64_t> shape);
  void add_codes(const std::string& name, std::span<const int8_t> codes, int bits,
                 std::vector<int64_t> shape);
  /// The name of a tensor that has these values and this shape: an earlier one's, or `name`, now added.
  std::string add_shared(const std::string& name, std::span<const float> values, std::vector<int64_t> shape);
  /// The file. `metadata` is an object without "tensors".
  std::vector<unsigned char> finish(Json metadata) const;

 private:
  struct Item {
    std::string name;
    int bits;
    std::vector<int64_t> shape;
    std::vector<unsigned char> bytes;
  };
  void add(Item);
  std::vector<Item> items_;
};

/// A file taken apart: views of `file`, which must outlive it.
struct FileView {
  uint32_t version = 0;
  nlohmann::json metadata;
  std::vector<Tensor> tensors;

  /// Throws FormatError naming the tensor.
  const Tensor& at(const std::string& name) const;
};

/// Checks everything that does not need to know what a network is: magic, version, sizes against the file
/// before anything is allocated, checksums of the header, the metadata and every tensor, zeros between them.
/// Throws FormatError.
FileView open_file(Bytes file);

}  // namespace rtfq::packed
