// "mean bits=4", "fit bitops 1/64": the numbers that tables show.
#include <charconv>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "training/experiment.h"

namespace rtfq::experiment {
namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw std::invalid_argument(
      "expected largest, smallest, a subnet such as width=0.5,bits=4, mean, worst or best (also "
      "'mean bits=4', 'worst by bits'), or fit MEASURE LIMIT ('fit bitops 1/64', 'fit bytes "
      "300K'), got '" +
      text + "'" + (why.empty() ? "" : ": " + why));
}

/// A number at the start of `text`; what follows goes to `rest`.
std::optional<double> leading_number(const std::string& text, std::string* rest) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) return {};
  *rest = std::string(end, text.data() + text.size());
  return value;
}

void read_filter(Value& value, const std::string& words) {
  std::istringstream parts(words);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    std::string rest;
    const auto number = equals == part.npos ? std::nullopt : leading_number(part.substr(equals + 1), &rest);
    if (!number || !rest.empty()) refuse(value.text, "'" + part + "' is not like bits=4");
    if (key == "width")
      value.width = number;
    else if (key == "depth")
      value.depth = number;
    else if (key == "resolution")
      value.resolution = static_cast<int>(*number);
    else if (key == "bits")
      value.bits = static_cast<int>(*number);
    else
      refuse(value.text, "'" + key + "' is none of width, depth, resolution, bits");
  }
}

void read_limit(Value& value, const std::string& measure, const std::string& limit) {
  if (measure != "macs" && measure != "bitops" && measure != "bytes")
    refuse(value.text, "'" + measure + "' is none of macs, bitops, bytes");
  value.measure = measure;
  std::string rest;
  const auto number = leading_number(limit, &rest);
  if (!number || *number <= 0) refuse(value.text, "the limit is not a number above 0");
  value.limit = *number;
  if (rest.starts_with("/")) {
    std::string nothing;
    const auto divisor = leading_number(rest.substr(1), &nothing);
    if (!divisor || *divisor <= 0 || !nothing.empty())
      refuse(value.text, "the limit is not a fraction like 1/64");
    value.limit /= *divisor;
    value.relative_limit = true;
    return;
  }
  value.relative_limit = rest.empty() && value.limit <= 1;  // nothing costs less than one
  const std::size_t power = rest.empty() ? 0 : std::string("KMGT").find(rest) + 1;
  if (rest.size() > 1 || (!rest.empty() && power == 0)) refuse(value.text, "a limit may end in K, M, G or T");
  value.limit *= std::pow(1000.0, static_cast<double>(power));
}

}  // namespace

Value parse_value(const std::string& text) {
  using Kind = Value::Kind;
  Value value;
  value.text = text;
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  if (words.empty()) refuse(text, "");
  const std::string& first = words[0];
  if (first == "largest" || first == "smallest") {
    value.kind = first == "largest" ? Kind::largest : Kind::smallest;
    if (words.size() > 1) refuse(text, "nothing follows '" + first + "'");
  } else if (first == "mean" || first == "worst" || first == "best") {
    value.kind = first == "mean" ? Kind::mean : first == "worst" ? Kind::worst : Kind::best;
    if (words.size() == 3 && words[1] == "by") {
      value.by = words[2];
      if (value.by != "bits" && value.by != "width" && value.by != "depth" && value.by != "resolution")
        refuse(text, "'" + value.by + "' is none of width, depth, resolution, bits");
    } else if (words.size() == 2) {
      read_filter(value, words[1]);
    } else if (words.size() > 1) {
      refuse(text, "");
    }
  } else if (first == "fit") {
    value.kind = Kind::fit;
    if (words.size() != 3) refuse(text, "");
    read_limit(value, words[1], words[2]);
  } else {
    value.kind = Kind::subnet;
    if (words.size() > 1 || first.find('=') == first.npos) refuse(text, "");
    read_filter(value, first);
    value.subnet = first;
    value.width = value.depth = std::nullopt;
    value.resolution = value.bits = std::nullopt;
  }
  return value;
}

}  // namespace rtfq::experiment
