#include "models/bank.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <stdexcept>

namespace rtfq {
namespace {

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

template <class T>
std::string list(const std::vector<T>& values) {
  std::string out;
  for (const T& value : values) out += (out.empty() ? "" : ", ") + text(static_cast<double>(value));
  return out;
}

template <class T>
void sort_and_check(std::vector<T>& values, const char* what, const std::function<bool(T)>& valid,
                    const char* expected) {
  if (values.empty())
    throw std::invalid_argument(std::string("[bank] ") + what + " is empty: give at least one value");
  std::sort(values.begin(), values.end(), std::greater<T>());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!valid(values[i]))
      throw std::invalid_argument(std::string("[bank] ") + what + ": expected " + expected + ", got " +
                                  text(static_cast<double>(values[i])));
    if (i && values[i] == values[i - 1])
      throw std::invalid_argument(std::string("[bank] ") + what + " lists " +
                                  text(static_cast<double>(values[i])) +
                                  " twice: two subnets would be the same network");
  }
}

template <class T>
std::size_t position(const std::vector<T>& values, T value, const char* what) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::abs(static_cast<double>(values[i]) - static_cast<double>(value)) < 1e-9) return i;
  throw std::invalid_argument(std::string("[subnet] ") + what + " " + text(static_cast<double>(value)) +
                              " is not in the bank; it has " + list(values));
}

}  // namespace

std::string id(const Subnet& s) {
  return "w" + text(s.width) + "-d" + text(s.depth) + "-r" + std::to_string(s.resolution) + "-b" +
         std::to_string(s.bits);
}

std::vector<Subnet> Bank::subnets() const {
  std::vector<Subnet> all;
  for (double width : widths)
    for (double depth : depths)
      for (int resolution : resolutions)
        for (int b : bits) all.push_back({width, depth, resolution, b});
  return all;
}

Subnet Bank::largest() const {
  return {widths.front(), depths.front(), resolutions.front(), bits.front()};
}
Subnet Bank::smallest() const {
  return {widths.back(), depths.back(), resolutions.back(), bits.back()};
}

int Bank::index(const Subnet& s) const {
  const std::size_t w = position(widths, s.width, "width"), d = position(depths, s.depth, "depth");
  const std::size_t r = position(resolutions, s.resolution, "resolution"), b = position(bits, s.bits, "bits");
  return static_cast<int>(((w * depths.size() + d) * resolutions.size() + r) * bits.size() + b);
}

std::vector<std::string> bank_presets() {
  return {"rtfq48", "anyda48", "small48"};
}

Bank bank_preset(const std::string& name) {
  if (name == "rtfq48") return {{1.0, 0.95, 0.9, 0.85}, {1.0}, {224, 192, 160, 128}, {8, 6, 4}, 16};
  if (name == "anyda48") return {{1.0, 0.9}, {1.0, 0.5}, {224, 192, 160, 128}, {8, 6, 4}, 16};
  if (name == "small48") return {{1.0, 0.875, 0.75, 0.5}, {1.0}, {32, 28, 24, 20}, {8, 6, 4}, 8};
  throw std::invalid_argument("[bank] unknown preset '" + name + "': expected rtfq48, anyda48 or small48");
}

Bank checked(Bank bank) {
  const std::function<bool(double)> fraction = [](double v) { return v > 0 && v <= 1; };
  sort_and_check(bank.widths, "widths", fraction, "a fraction in (0, 1]");
  sort_and_check(bank.depths, "depths", fraction, "a fraction in (0, 1]");
  sort_and_check<int>(
      bank.resolutions, "resolutions", [](int v) { return v >= 8 && v <= 4096; }, "8 to 4096 pixels");
  sort_and_check<int>(
      bank.bits, "bits", [](int v) { return (v >= 2 && v <= 8) || v == float_bits; },
      "2 to 8, or 32 for full precision");
  if (bank.widths.front() != 1 || bank.depths.front() != 1)
    throw std::invalid_argument(
        "[bank] widths and depths must contain 1: the full network is a member of its bank");
  if (bank.multiple < 1 || bank.multiple > 256)
    throw std::invalid_argument("[bank] multiple: expected 1 to 256, got " + std::to_string(bank.multiple));
  return bank;
}

int64_t scaled_channels(int64_t channels, double width, int multiple) {
  if (width >= 1) return channels;
  const double exact = static_cast<double>(channels) * width / multiple;
  const int64_t rounded = static_cast<int64_t>(std::floor(exact + 0.5)) * multiple;
  return std::clamp<int64_t>(rounded, std::min<int64_t>(multiple, channels), channels);
}

int64_t scaled_blocks(int64_t blocks, double depth) {
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(static_cast<double>(blocks) * depth - 1e-9)));
}

Subnet parse_subnet(const std::string& text, const Bank& bank) {
  const Subnet subnet = parse_subnet_values(text, bank.largest());
  bank.index(subnet);
  return subnet;
}

Subnet parse_subnet_values(const std::string& description, Subnet subnet) {
  std::size_t begin = 0;
  while (begin < description.size()) {
    const std::size_t end = std::min(description.find(',', begin), description.size());
    const std::string part = description.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals),
                      value = equals == part.npos ? "" : part.substr(equals + 1);
    char* rest = nullptr;
    const double number = std::strtod(value.c_str(), &rest);
    if (value.empty() || *rest)
      throw std::invalid_argument("[subnet] expected key=number, got '" + part +
                                  "'; write width=0.9,depth=1,resolution=28,bits=4");
    if (key == "width")
      subnet.width = number;
    else if (key == "depth")
      subnet.depth = number;
    else if (key == "resolution")
      subnet.resolution = static_cast<int>(number);
    else if (key == "bits")
      subnet.bits = static_cast<int>(number);
    else
      throw std::invalid_argument("[subnet] unknown key '" + key +
                                  "': expected width, depth, resolution or bits");
  }
  return subnet;
}

}  // namespace rtfq
