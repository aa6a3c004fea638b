#pragma once
// Subnets and banks: which choices of width, depth, resolution and bit-width one set of weights serves
// (docs/method.md, "The quantized network bank").

#include <cstdint>
#include <string>
#include <vector>

namespace rtfq {

/// Bits that mean "not quantized".
inline constexpr int float_bits = 32;

/// An architecture: what decides which weights a subnet uses. Widths and depths are fractions of the full
/// network.
struct Subnet {
  double width = 1.0;
  double depth = 1.0;
  int resolution = 224;  ///< pixels
  int bits = 8;          ///< of weights and activations; float_bits: not quantized
  bool operator==(const Subnet&) const = default;
};

/// "w0.9-d1-r160-b4".
std::string id(const Subnet&);

/// The values along each dimension; every list is in descending order, so the first of each is the largest.
struct Bank {
  std::vector<double> widths{1.0};
  std::vector<double> depths{1.0};
  std::vector<int> resolutions{224};
  std::vector<int> bits{8};
  int multiple = 16;  ///< channel counts of a width are rounded to the nearest multiple of this, ties up

  /// All combinations, largest first: widths outermost, then depths, resolutions, bits.
  std::vector<Subnet> subnets() const;
  Subnet largest() const;
  Subnet smallest() const;
  /// Position in subnets(); throws std::invalid_argument listing the bank's values when it is not in the
  /// bank.
  int index(const Subnet&) const;
  bool operator==(const Bank&) const = default;
};

/// rtfq48, anyda48 (224 pixels and below) or small48 (32 pixels and below).
/// Throws std::invalid_argument naming the presets.
Bank bank_preset(const std::string& name);
std::vector<std::string> bank_presets();

/// Sorts the lists descending and checks them: fractions in (0, 1], resolutions >= 8, bits 2..8 or 32, no
/// duplicates, the first width and depth 1. Throws std::invalid_argument ("[bank] ...").
Bank checked(Bank);

/// `channels * width` to the nearest multiple (ties up), never below one multiple nor above `channels`; width
/// 1 keeps `channels` as it is.
int64_t scaled_channels(int64_t channels, double width, int multiple);
/// ceil(blocks * depth), at least 1.
int64_t scaled_blocks(int64_t blocks, double depth);

/// "width=0.9,depth=1,resolution=28,bits=4" of any bank: what is left out is `start`'s. Throws
/// std::invalid_argument for unknown keys and for what is not a number.
Subnet parse_subnet_values(const std::string& text, Subnet start);

/// "width=0.9,depth=1,resolution=28,bits=4": what is left out is the bank's largest. Throws
/// std::invalid_argument for unknown keys or values that are not in the bank.
Subnet parse_subnet(const std::string& text, const Bank&);

}  // namespace rtfq
