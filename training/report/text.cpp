#include "training/report/text.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace rtfq::report {
namespace {

/// Bytes of the UTF-8 sequence that begins at `at`; 0 where there is none.
std::size_t sequence(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length == 0 || lead > 0xF4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  const unsigned second = length > 1 ? byte(at + 1) : 0;
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||  // overlong, surrogates
      (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))    // overlong, above U+10FFFF
    return 0;
  return length;
}

std::string superscript(int number) {
  static constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = number < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(number))) out += digits[c - '0'];
  return out;
}

std::string with_prefix(double value, const char* between) {
  static constexpr const char* units[] = {"", "K", "M", "G", "T", "P"};
  std::size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  const double size = std::abs(value);
  const int digits = unit == 0 ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return fixed(value, digits) + between + units[unit];
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = sequence(text, i);
    const char c = text[i];
    const bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    if (length == 0 || control)
      out += "\xEF\xBF\xBD";  // U+FFFD
    else if (length > 1)
      out.append(text, i, length);
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += c;
    i += length ? length : 1;
  }
  return out;
}

std::string fixed(double value, int digits) {
  char buffer[400];  // 1e308 has 309 digits
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  std::string text = buffer;
  if (text[0] == '-' && text.find_first_not_of("-0.") == text.npos) text.erase(0, 1);
  return text;
}

std::string shortest(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

std::string scientific(double value) {
  int power = static_cast<int>(std::floor(std::log10(std::abs(value))));
  std::string mantissa = fixed(value / std::pow(10, power), 1);
  if (std::abs(std::strtod(mantissa.c_str(), nullptr)) >= 10)
    mantissa = fixed(value / std::pow(10, ++power), 1);
  if (mantissa.ends_with(".0")) mantissa.erase(mantissa.size() - 2);
  return mantissa + "×10" + superscript(power);
}

std::string rounded(double value) {
  const double size = std::abs(value);
  if (value == 0 || !std::isfinite(value)) return fixed(value, 0);
  if (size >= 1e6 || size < 1e-4) return scientific(value);
  const int digits = size >= 100  ? 0
                     : size >= 10 ? 1
                     : size >= 1  ? 2
                                  : 2 - static_cast<int>(std::floor(std::log10(size)));
  return fixed(value, digits);
}

std::string quantity(double value) {
  return with_prefix(value, "");
}

std::string bytes(double value) {
  return with_prefix(value, " ") + "B";
}

std::string whole(long long value) {
  std::string text = std::to_string(value);
  for (std::size_t i = text.size(); i > (value < 0 ? 4u : 3u);) text.insert(i -= 3, "\u202F");
  return text;
}

std::string duration(double seconds) {
  if (seconds < 9.95) return fixed(seconds, 1) + " s";
  const long long s = std::llround(seconds);
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s % 3600 / 60) + " min";
}

}  // namespace rtfq::report
