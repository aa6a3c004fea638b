#pragma once
// Checksums: a fast one that finds damage, and SHA-256, by which people compare files.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace rtfq::data {

/// 64 bits that differ for bytes that differ by accident; no protection against intent.
uint64_t checksum(const void* bytes, size_t size);

/// SHA-256 (FIPS 180-4), fed in pieces.
class Sha256 {
 public:
  Sha256();
  void add(const void* bytes, size_t size);
  void add(const std::string& text) { add(text.data(), text.size()); }
  /// 64 hexadecimal digits, as sha256sum prints them. Ends the object's use.
  std::string hex();

 private:
  void block(const uint8_t* bytes);
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> pending_{};
  uint64_t length_ = 0;
};

/// Of a whole file. Throws std::runtime_error naming it when it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace rtfq::data
