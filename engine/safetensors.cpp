#include "engine/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

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

/// A file that appears under its name only when it is complete.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path)
      : path_(std::move(path)), temporary_(path_ + ".tmp" + std::to_string(::getpid())) {
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail("cannot create");
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!done_) ::unlink(temporary_.c_str());
  }
  void write(const void* data, std::size_t bytes) {
    const char* p = static_cast<const char*>(data);
    while (bytes) {
      const ssize_t wrote = ::write(descriptor_, p, bytes);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) fail("cannot write");
      p += wrote;
      bytes -= static_cast<std::size_t>(wrote);
    }
  }
  void commit() {
    if (::fsync(descriptor_) != 0) fail("cannot flush");
    ::close(descriptor_);
    descriptor_ = -1;
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename");
    done_ = true;
    const fs::path parent = fs::path(path_).parent_path();
    const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
      ::fsync(directory);
      ::close(directory);
    }
  }

 private:
  [[noreturn]] void fail(const char* what) {
    throw std::runtime_error(std::string("[file] ") + what + " " + path_ + ": " + std::strerror(errno));
  }
  std::string path_, temporary_;
  int descriptor_ = -1;
  bool done_ = false;
};

[[noreturn]] void damaged(const std::string& path, const std::string& why) {
  throw std::runtime_error("[safetensors] " + path + " is not a whole safetensors file: " + why);
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

void save_tensors(const std::string& path, const TensorFile& file) {
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
  header["__metadata__"]["checksum"] = checksum.text();
  for (const auto& [name, tensor] : file.tensors) {
    Json shape = Json::array();
    for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
    header[name] = {{"dtype", name_of(tensor.dtype())},
                    {"shape", std::move(shape)},
                    {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = print_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  AtomicFile out(path);
  out.write(&length, sizeof length);
  out.write(text.data(), text.size());
  for (const auto& [name, tensor] : file.tensors) out.write(tensor.data(), tensor.bytes());
  out.commit();
}

TensorFile load_tensors(const std::string& path) {
  auto [in, size, length, header] = open_file(path);
  TensorFile file;
  file.metadata = metadata_of(header, path);
  const uint64_t bytes = size - 8 - length;
  std::vector<std::pair<uint64_t, std::size_t>> order;
  uint64_t described_bytes = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    auto [tensor, begin] = described(path, name, entry, bytes);
    described_bytes += tensor.bytes();
    // Overlapping tensors could ask for far more memory than the file has.
    if (described_bytes > bytes) damaged(path, "tensors overlap");
    order.emplace_back(begin, file.tensors.size());
    file.tensors.emplace_back(name, std::move(tensor));
  }
  Checksum checksum;
  for (const auto& [begin, index] : order) {
    const Tensor& tensor = file.tensors[index].second;
    in.seekg(static_cast<std::streamoff>(8 + length + begin));
    if (!in.read(static_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.bytes())))
      damaged(path, "data of " + file.tensors[index].first + " is cut off");
    checksum.add(tensor.data(), tensor.bytes());
  }
  const auto expected = file.metadata.find("checksum");
  if (expected != file.metadata.end()) {
    if (expected->second != checksum.text())
      damaged(path, "the checksum does not match: the data is damaged");
    file.metadata.erase(expected);
  }
  return file;
}

std::map<std::string, std::string> load_metadata(const std::string& path) {
  auto metadata = metadata_of(open_file(path).header, path);
  metadata.erase("checksum");
  return metadata;
}

void write_file_atomically(const std::string& path, const std::string& contents) {
  AtomicFile out(path);
  out.write(contents.data(), contents.size());
  out.commit();
}

}  // namespace rtfq
