#include "models/packed/file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/crc32.h"
#include "models/packed/codes.h"

namespace rtfq::packed {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are read as they lie");

constexpr unsigned char magic[8] = {0x89, 'R', 'T', 'F', 'Q', '\r', '\n', 0x1a};

struct Header {
  unsigned char magic[8];
  uint32_t version, header_bytes;
  uint64_t file_bytes, metadata_offset, metadata_bytes, data_offset;
  uint32_t metadata_crc, reserved[2], header_crc;
};
static_assert(sizeof(Header) == 64);

uint64_t aligned(uint64_t offset) {
  return (offset + tensor_alignment - 1) / tensor_alignment * tensor_alignment;
}

uint32_t crc(Bytes bytes) {
  return crc32(bytes.data(), bytes.size());
}

uint32_t header_crc(const Header& header) {
  return crc({reinterpret_cast<const unsigned char*>(&header), offsetof(Header, header_crc)});
}

std::string type_text(int bits) {
  return bits == 32 ? "f32" : "s" + std::to_string(bits);
}

int bits_of(const std::string& type) {
  if (type == "f32") return 32;
  if (type.size() == 2 && type[0] == 's' && type[1] >= '2' && type[1] <= '8') return type[1] - '0';
  throw FormatError("the tensor type '" + formats::shown_name(type) + "' is none of f32, s2, ..., s8");
}

void require_zeros(Bytes file, uint64_t from, uint64_t to) {
  for (uint64_t i = from; i < to; ++i)
    if (file[i]) throw FormatError("byte " + std::to_string(i) + " between two parts is not zero");
}

/// Elements of a shape; throws where they could not fit in `bytes` of the file.
uint64_t checked_count(const std::string& name, const std::vector<int64_t>& shape, uint64_t most) {
  if (shape.empty() || shape.size() > 4)
    throw FormatError("the tensor " + name + " has " + std::to_string(shape.size()) +
                      " dimensions, not 1 to 4");
  uint64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 1 || static_cast<uint64_t>(size) > most / count)
      throw FormatError("the tensor " + name + " does not fit in the file");
    count *= static_cast<uint64_t>(size);
  }
  return count;
}

Header read_header(Bytes file) {
  if (file.size() < sizeof magic || std::memcmp(file.data(), magic, sizeof magic) != 0)
    throw FormatError("this is not an rtfq model: it does not begin with its signature");
  if (file.size() < sizeof(Header)) throw FormatError("the file is cut off within its header");
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  if (header.version > format_version)
    throw FormatError("the file has version " + std::to_string(header.version) +
                      " of the format; this program reads up to version " + std::to_string(format_version) +
                      ": use a newer rtfq");
  if (header.header_crc != header_crc(header))
    throw FormatError("the header is damaged (its checksum differs)");
  if (header.version < 1 || header.header_bytes != sizeof(Header) || header.reserved[0] || header.reserved[1])
    throw FormatError("the header is damaged");
  if (header.file_bytes != file.size())
    throw FormatError("the file should have " + std::to_string(header.file_bytes) + " bytes and has " +
                      std::to_string(file.size()) +
                      (header.file_bytes > file.size() ? ": it is cut off" : ""));
  if (header.metadata_offset != sizeof(Header) || header.metadata_bytes > max_metadata_bytes ||
      header.metadata_bytes > file.size() - sizeof(Header) ||
      header.data_offset != aligned(sizeof(Header) + header.metadata_bytes) ||
      header.data_offset > file.size())
    throw FormatError("the header's offsets do not fit together");
  return header;
}

Tensor read_tensor(const nlohmann::json& row, Bytes data) {
  Tensor tensor;
  tensor.name = row.at("name").get<std::string>();
  const std::string shown = formats::shown_name(tensor.name);
  tensor.bits = bits_of(row.at("type").get<std::string>());
  tensor.shape = row.at("shape").get<std::vector<int64_t>>();
  const uint64_t count = checked_count(shown, tensor.shape, data.size() * 8);
  const uint64_t offset = row.at("offset").get<uint64_t>(), bytes = code_bytes(count, tensor.bits);
  if (offset % tensor_alignment || offset > data.size() || bytes > data.size() - offset)
    throw FormatError("the tensor " + shown + " lies outside the file");
  tensor.data = data.subspan(offset, bytes);
  if (row.at("crc32").get<uint32_t>() != crc(tensor.data))
    throw FormatError("the tensor " + shown + " is damaged (its checksum differs)");
  return tensor;
}

}  // namespace

int64_t Tensor::count() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

void FileWriter::add(Item item) {
  items_.push_back(std::move(item));
}

void FileWriter::add(const std::string& name, std::span<const float> values, std::vector<int64_t> shape) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  add({name, 32, std::move(shape), {bytes, bytes + values.size_bytes()}});
}

void FileWriter::add_codes(const std::string& name, std::span<const int8_t> codes, int bits,
                           std::vector<int64_t> shape) {
  add({name, bits, std::move(shape), pack_codes(codes, bits)});
}

std::string FileWriter::add_shared(const std::string& name, std::span<const float> values,
                                   std::vector<int64_t> shape) {
  for (const Item& item : items_)
    if (item.bits == 32 && item.shape == shape && item.bytes.size() == values.size_bytes() &&
        std::memcmp(item.bytes.data(), values.data(), values.size_bytes()) == 0)
      return item.name;
  add(name, values, std::move(shape));
  return name;
}

std::vector<unsigned char> FileWriter::finish(Json metadata) const {
  Json rows = Json::array();
  uint64_t end = 0;
  for (const Item& item : items_) {
    const uint64_t offset = aligned(end);
    end = offset + item.bytes.size();
    rows.push_back({{"name", item.name},
                    {"type", type_text(item.bits)},
                    {"shape", item.shape},
                    {"offset", offset},
                    {"crc32", crc(item.bytes)}});
  }
  metadata["tensors"] = std::move(rows);
  const std::string text = print_json(metadata);
  if (text.size() > max_metadata_bytes)
    throw std::runtime_error("[packed] the metadata takes more than " + std::to_string(max_metadata_bytes) +
                             " bytes");
  Header header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = format_version;
  header.header_bytes = sizeof(Header);
  header.metadata_offset = sizeof(Header);
  header.metadata_bytes = text.size();
  header.data_offset = aligned(sizeof(Header) + text.size());
  header.file_bytes = header.data_offset + end;
  header.metadata_crc = crc({reinterpret_cast<const unsigned char*>(text.data()), text.size()});
  header.header_crc = header_crc(header);

  std::vector<unsigned char> file(header.file_bytes);
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + sizeof header, text.data(), text.size());
  uint64_t at = 0;
  for (const Item& item : items_) {
    at = aligned(at);
    std::copy(item.bytes.begin(), item.bytes.end(),
              file.begin() + static_cast<std::ptrdiff_t>(header.data_offset + at));
    at += item.bytes.size();
  }
  return file;
}

const Tensor& FileView::at(const std::string& name) const {
  for (const Tensor& tensor : tensors)
    if (tensor.name == name) return tensor;
  throw FormatError("the file lacks the tensor " + formats::shown_name(name));
}

FileView open_file(Bytes file) {
  const Header header = read_header(file);
  FileView view;
  view.version = header.version;
  const Bytes text = file.subspan(header.metadata_offset, header.metadata_bytes);
  if (crc(text) != header.metadata_crc) throw FormatError("the metadata is damaged (its checksum differs)");
  require_zeros(file, header.metadata_offset + header.metadata_bytes, header.data_offset);
  // Sorted objects: one of a hostile file's many members takes no longer than another.
  view.metadata = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!view.metadata.is_object()) throw FormatError("the metadata is not a JSON object");
  const Bytes data = file.subspan(header.data_offset);
  uint64_t end = 0;
  try {
    for (const nlohmann::json& row : view.metadata.at("tensors")) {
      Tensor tensor = read_tensor(row, data);
      const auto offset = static_cast<uint64_t>(tensor.data.data() - data.data());
      if (offset != aligned(end))
        throw FormatError("the tensor " + formats::shown_name(tensor.name) +
                          " does not follow the one before");
      require_zeros(data, end, offset);
      end = offset + tensor.data.size();
      view.tensors.push_back(std::move(tensor));
    }
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(std::string("the list of tensors cannot be read: ") + error.what());
  }
  if (end != data.size()) throw FormatError("bytes follow the last tensor");
  return view;
}

}  // namespace rtfq::packed
