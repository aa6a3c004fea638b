// Packed models: a whole file whose checksums of header and metadata are made to fit, so that what lies
// behind them is reached; or metadata alone, "{...", around which a file of the size that its tensors want is
// made.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/crc32.h"
#include "models/packed/codes.h"
#include "models/packed/model.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

namespace {

template <class T>
void put(std::vector<unsigned char>& file, std::size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}

void reseal(std::vector<unsigned char>& file) {
  if (file.size() < 64) return;
  uint64_t bytes = 0;
  std::memcpy(&bytes, file.data() + 32, sizeof bytes);
  if (bytes <= file.size() - 64) put(file, 48, crc32(file.data() + 64, bytes));
  put(file, 60, crc32(file.data(), 60));
}

/// The end of a tensor's row within the data, or 0; its row gets the checksum of so many zeros.
uint64_t end_of(nlohmann::json& row, const std::vector<unsigned char>& data) {
  const auto type = row.at("type").get<std::string>();
  const int bits = type == "f32" ? 32 : type.size() == 2 ? type[1] - '0' : 0;
  if (bits < 2 || bits > 32) return 0;
  uint64_t count = 1;
  for (const nlohmann::json& size : row.at("shape")) {
    const auto n = size.get<uint64_t>();
    if (n > data.size() || (count *= n) > data.size()) return 0;
  }
  const auto offset = row.at("offset").get<uint64_t>();
  const uint64_t bytes = packed::code_bytes(count, bits);
  if (offset > data.size() || bytes > data.size() - offset) return 0;
  row["crc32"] = crc32(data.data() + offset, bytes);
  return offset + bytes;
}

/// Values of f32 that are positive and finite, and codes of any width.
std::vector<unsigned char> around(const std::string& text) {
  static const std::vector<unsigned char> data = [] {
    std::vector<unsigned char> bytes(1 << 19);
    for (std::size_t i = 3; i < bytes.size(); i += 4) bytes[i] = 0x3f;
    return bytes;
  }();
  std::string metadata = text;
  uint64_t end = 0;
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  try {
    for (nlohmann::json& row : parsed.at("tensors")) end = std::max(end, end_of(row, data));
    metadata = parsed.dump();
  } catch (const nlohmann::json::exception&) {
    // Left as it is.
  }
  const uint64_t from = (64 + metadata.size() + 63) / 64 * 64;
  std::vector<unsigned char> file(from + end);
  std::memcpy(file.data(), "\x89RTFQ\r\n\x1a\1\0\0\0\x40", 13);
  put<uint64_t>(file, 16, file.size());
  put<uint64_t>(file, 24, 64);
  put<uint64_t>(file, 32, metadata.size());
  put(file, 40, from);
  std::memcpy(file.data() + 64, metadata.data(), metadata.size());
  std::memcpy(file.data() + from, data.data(), end);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 1024);
  std::vector<unsigned char> file(data, data + size);
  if (size > 0 && data[0] == '{') file = around(fuzz::text_of(data, size));
  reseal(file);
  fuzz::accepts(
      [&] {
        const packed::Model model(file);
        for (std::size_t i = 0; i < std::min<std::size_t>(model.subnets().size(), 8); ++i) {
          const packed::Walk walk = model.walk_of(i);
          const packed::Norms norms = model.norms_of(i);
          fuzz::require(std::isfinite(norms.shift[walk.norm_channels - 1]), "norms that are not finite");
          const int bits = model.subnets()[i].subnet.bits;
          for (const ConvPlan& conv : walk.convs) {
            const auto codes = model.corner(model.layer(conv.name), bits, conv.k, conv.c);
            fuzz::require(
                codes.size() == static_cast<std::size_t>(conv.k * conv.c * conv.filter * conv.filter),
                "codes that the layer does not have");
          }
        }
      },
      true);
  return 0;
}
