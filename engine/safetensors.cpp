#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "engine/atomic_file.h"
#include "engine/json.h"

namespace rtfq {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, DType>& dtypes() {
  static const std::map<std::string, DType> map{{"F32", DType::f32}, {"BF16", DType::bf16},
                                                {"F16", DType::f16}, {"U8", DType::u8},
                                                {"I8", DType::s8},   {"I32", DType::s32}};
  return map;
}

std::string name_of(DType type) {
  for (const auto& [name, value] : dtypes())
    if (value == type) return name;
  throw std::logic_error("[safetensors] unknown dtype");
}

/// FNV-1a over 8-byte words: enough to notice a damaged file, cheap beside reading it.
class Checksum {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (; bytes >= 8; bytes -= 8, p += 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      mix(word);
    }
    for (; bytes; --bytes, ++p) mix(*p);
  }
  std::string text() const {
    char buffer[17];
    std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(state_));
    return buffer;
  }

 private:
  void mix(uint64_t word) {
    state_ = (state_ ^ word) * 0x100000001B3ull;
    state_ ^= state_ >> 29;
  }
  uint64_t state_ = 0xCBF29CE484222325ull;
};

[[noreturn]] void damaged(const std::string& path, const std::string& why) {
  throw std::runtime_error("[safetensors] " + path + " is not a whole safetensors file: " + why);
}

constexpr const char* checksum_key = "checksum";                ///< of the data
constexpr const char* header_checksum_key = "header_checksum";  ///< of the header without this entry

std::string header_checksum(Json header) {
  if (header.contains("__metadata__")) header["__metadata__"].erase(header_checksum_key);
  const std::string text = print_json(header);
  Checksum checksum;
  checksum.add(text.data(), text.size());
  return checksum.text();
}

/// Compares the header's checksum, where there is one (files of other programs have none).
void check_header(const Json& header, const std::map<std::string, std::string>& metadata,
                  const std::string& path) {
  const auto expected = metadata.find(header_checksum_key);
  if (expected != metadata.end() && expected->second != header_checksum(header))
    damaged(path, "the checksum of its header does not match");
}

/// Reads one header entry and checks it against the data section.
std::pair<Tensor, uint64_t> described(const std::string& path, const std::string& name, const Json& entry,
                                      uint64_t bytes) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets") || !entry["dtype"].is_string() || !entry["shape"].is_array() ||
      !entry["data_offsets"].is_array())
    damaged(path, "tensor " + name + " lacks dtype, shape or data_offsets");
  const auto type = dtypes().find(entry["dtype"].get<std::string>());
  if (type == dtypes().end()) damaged(path, "tensor " + name + " has dtype " + print_json(entry["dtype"]));
  if (entry["shape"].size() > Dims::max_rank) damaged(path, "tensor " + name + " has more than 4 dimensions");
  std::vector<int64_t> sizes;
  uint64_t need = size_of(type->second);
  for (const Json& size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > bytes)
      damaged(path, "tensor " + name + " has shape " + print_json(entry["shape"]));
    sizes.push_back(size.get<int64_t>());
    if (__builtin_mul_overflow(need, size.get<uint64_t>(), &need))
      damaged(path, "tensor " + name + " is too large");
  }
  const Json& offsets = entry["data_offsets"];
  if (offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    damaged(path, "tensor " + name + " has offsets " + print_json(offsets));
  const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  if (begin > end || end > bytes || end - begin != need)
    damaged(path, "tensor " + name + " needs " + std::to_string(need) + " bytes, offsets " +
                      print_json(offsets) + " of " + std::to_string(bytes));
  return {Tensor::empty(Dims(sizes), type->second), begin};
}

/// An opened file and its header.
struct Opened {
  std::ifstream in;
  uint64_t size = 0, length = 0;  ///< of the file, of the header
  Json header;
};

Opened open_file(const std::string& path) {
  std::error_code error;
  Opened file;
  file.size = fs::file_size(path, error);
  file.in.open(path, std::ios::binary);
  if (error || !file.in)
    throw std::runtime_error("[safetensors] cannot read " + path + ": " +
                             (error ? error.message() : "no access"));
  if (file.size < 8 || !file.in.read(reinterpret_cast<char*>(&file.length), 8) || file.length > file.size - 8)
    damaged(path, "the header is cut off (" + std::to_string(file.size) + " bytes)");
  std::string text(file.length, '\0');
  if (!file.in.read(text.data(), static_cast<std::streamsize>(file.length)))
    damaged(path, "the header is cut off");
  file.header = parse_json(text);
  if (!file.header.is_object()) damaged(path, "the header is not JSON");
  return file;
}

std::map<std::string, std::string> metadata_of(const Json& header, const std::string& path) {
  std::map<std::string, std::string> metadata;
  if (!header.contains("__metadata__")) return metadata;
  const Json& entry = header.at("__metadata__");
  if (!entry.is_object()) damaged(path, "__metadata__ is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) damaged(path, "__metadata__." + key + " is not a string");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

}  // namespace

const Tensor* TensorFile::find(const std::string& name) const {
  for (const auto& [other, tensor] : tensors)
    if (other == name) return &tensor;
  return nullptr;
}

const Tensor& TensorFile::at(const std::string& name) const {
  const Tensor* tensor = find(name);
  if (!tensor) throw std::runtime_error("[safetensors] the file has no tensor " + name);
  return *tensor;
}

void save_tensors(const std::string& path, const TensorFile& file, const std::string& previous) {
  Json header;
  Checksum checksum;
  uint64_t offset = 0;
  std::set<std::string> names;
  for (const auto& [name, tensor] : file.tensors) {
    if (!tensor.dense()) throw std::logic_error("[safetensors] " + name + " is not dense");
    if (!names.insert(name).second) throw std::logic_error("[safetensors] two tensors are called " + name);
    checksum.add(tensor.data(), tensor.bytes());
  }
  header["__metadata__"] = file.metadata;
  header["__metadata__"][checksum_key] = checksum.text();
  for (const auto& [name, tensor] : file.tensors) {
    Json shape = Json::array();
    for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
    header[name] = {{"dtype", name_of(tensor.dtype())},
                    {"shape", std::move(shape)},
                    {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  header["__metadata__"][header_checksum_key] = header_checksum(header);
  std::string text = print_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  AtomicFile out(path);
  out.write(&length, sizeof length);
  out.write(text.data(), text.size());
  for (const auto& [name, tensor] : file.tensors) out.write(tensor.data(), tensor.bytes());
  out.commit(previous);
}

TensorFile load_tensors(const std::string& path) {
  auto [in, size, length, header] = open_file(path);
  TensorFile file;
  file.metadata = metadata_of(header, path);
  check_header(header, file.metadata, path);
  const uint64_t bytes = size - 8 - length;
  struct Place {
    uint64_t begin;
    std::size_t index;
  };
  std::vector<Place> places;
  uint64_t described_bytes = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    auto [tensor, begin] = described(path, name, entry, bytes);
    described_bytes += tensor.bytes();
    // Overlapping tensors could ask for far more memory than the file has.
    if (described_bytes > bytes) damaged(path, "tensors overlap");
    places.push_back({begin, file.tensors.size()});
    file.tensors.emplace_back(name, std::move(tensor));
  }
  // The format leaves no byte of the data to nobody, and none to two.
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.begin < b.begin; });
  Checksum checksum;
  uint64_t end = 0;
  for (const auto& [begin, index] : places) {
    const Tensor& tensor = file.tensors[index].second;
    if (tensor.bytes() == 0) continue;
    if (begin != end) damaged(path, "there is a gap or an overlap before " + file.tensors[index].first);
    end = begin + tensor.bytes();
    in.seekg(static_cast<std::streamoff>(8 + length + begin));
    if (!in.read(static_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.bytes())))
      damaged(path, "data of " + file.tensors[index].first + " is cut off");
    checksum.add(tensor.data(), tensor.bytes());
  }
  if (end != bytes) damaged(path, std::to_string(bytes - end) + " bytes at its end belong to no tensor");
  const auto expected = file.metadata.find(checksum_key);
  if (expected != file.metadata.end()) {
    if (expected->second != checksum.text())
      damaged(path, "the checksum does not match: the data is damaged");
    file.metadata.erase(expected);
  }
  file.metadata.erase(header_checksum_key);
  return file;
}

std::map<std::string, std::string> load_metadata(const std::string& path) {
  const Json header = open_file(path).header;
  auto metadata = metadata_of(header, path);
  check_header(header, metadata, path);
  metadata.erase(checksum_key);
  metadata.erase(header_checksum_key);
  return metadata;
}

}  // namespace rtfq
