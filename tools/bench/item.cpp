#include "tools/bench/item.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "tools/bench/statistics.h"

namespace rtfq::lab {
namespace {

/// Dims that are a choice: the words of shapes.h's enumerations, by their values.
const std::map<std::string, std::vector<std::string>>& words() {
  static const std::map<std::string, std::vector<std::string>> all{
      {"residual", {"none", "values", "codes", "norm"}}, {"identity", {"none", "codes", "values"}}};
  return all;
}

/// A word of such a dim as its value, or nothing.
std::optional<int64_t> value_of(const std::string& dim, const std::string& word) {
  const auto its = words().find(dim);
  if (its == words().end()) return {};
  const auto found = std::find(its->second.begin(), its->second.end(), word);
  if (found != its->second.end()) return found - its->second.begin();
  return {};
}

std::string dim_text(const std::string& dim, int64_t value) {
  const auto its = words().find(dim);
  if (its == words().end() || value < 0 || value >= static_cast<int64_t>(its->second.size()))
    return std::to_string(value);
  return its->second[static_cast<std::size_t>(value)];
}

constexpr const char* outcomes[] = {"exact", "near-tie", "wrong", "crashed", "hung", "failed", "skipped"};

}  // namespace

std::string dims_as_text(const std::map<std::string, int64_t>& dims) {
  std::string text;
  // As people write them: images, size, channels, filters; what is not known comes last.
  std::vector<std::string> order{"count", "n",      "hw",     "h",      "w",   "c", "k",
                                 "rs",    "filter", "window", "stride", "pad", "of"};
  const std::vector<std::string> last{"segments", "signed", "x_bits", "z", "residual", "identity"};
  for (const auto& [name, value] : dims)
    if (std::find(order.begin(), order.end(), name) == order.end() &&
        std::find(last.begin(), last.end(), name) == last.end())
      order.push_back(name);
  order.insert(order.end(), last.begin(), last.end());
  for (const std::string& name : order)
    if (const auto found = dims.find(name); found != dims.end())
      text += (text.empty() ? "" : ",") + name + "=" + dim_text(name, found->second);
  return text;
}

std::map<std::string, int64_t> parse_dims(const std::string& text) {
  std::map<std::string, int64_t> dims;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    const std::size_t equals = part.find('=');
    at = comma + 1;
    if (equals != part.npos && equals > 0)
      if (const auto value = value_of(part.substr(0, equals), part.substr(equals + 1))) {
        dims[part.substr(0, equals)] = *value;
        continue;
      }
    char* end = nullptr;
    const int64_t value = equals == part.npos ? 0 : std::strtoll(part.c_str() + equals + 1, &end, 10);
    if (equals == part.npos || equals == 0 || !end || *end || end == part.c_str() + equals + 1)
      throw std::invalid_argument("[shape] expected NAME=NUMBER,..., got '" + part + "'");
    dims[part.substr(0, equals)] = value;
  }
  return dims;
}

bool quantizes(const std::string& op) {
  for (const char* family : {"fakequant.", "normquant.", "convquant.", "int4.quantize"})
    if (op.rfind(family, 0) == 0) return true;
  return false;
}

std::string Item::case_text() const {
  std::string text = catalog_case.empty() ? dims_as_text(dims) : catalog_case;
  if (bits) text += std::string(",") + (is_signed ? "s" : "u") + std::to_string(bits);
  if (catalog_case.empty()) text += "," + dtype;
  if (data != "normal") text += "," + data;
  return text;
}

std::string Item::arithmetic() const {
  if (op.rfind("convquant.", 0) == 0 || op == "int4.conv2d") return "u8";
  if (catalog_case.find("_tf32") != catalog_case.npos) return "tf32";
  // The catalog's convolutions and linear layers name the types of x and y.
  for (const char* type : {"u8", "s8", "bf16"})
    if (catalog_case.find(std::string("_") + type + "_") != catalog_case.npos)
      return type == std::string("bf16") ? type : "u8";
  return dtype;
}

std::string Item::name() const {
  return op + "/" + case_text() + "/" + implementation + "/" + device;
}

void to_json(json& j, const Item& i) {
  j = {{"op", i.op},
       {"implementation", i.implementation},
       {"device", i.device},
       {"dtype", i.dtype},
       {"data", i.data}};
  if (i.catalog_case.empty())
    j["dims"] = i.dims;
  else
    j["case"] = i.catalog_case;
  if (i.bits) {
    j["bits"] = i.bits;
    j["signed"] = i.is_signed;
  }
  if (!i.where.empty()) j["where"] = i.where;
}

void from_json(const json& j, Item& i) {
  i.op = j.at("op");
  i.implementation = j.at("implementation");
  i.device = j.at("device");
  i.catalog_case = j.value("case", "");
  if (j.contains("dims")) i.dims = j.at("dims").get<std::map<std::string, int64_t>>();
  i.dtype = j.value("dtype", "f32");
  i.bits = j.value("bits", 0);
  i.is_signed = j.value("signed", false);
  i.data = j.value("data", "normal");
  i.where = j.value("where", "");
}

const char* to_string(Outcome outcome) {
  return outcomes[static_cast<int>(outcome)];
}

Outcome parse_outcome(const std::string& text) {
  for (int i = 0; i < static_cast<int>(std::size(outcomes)); ++i)
    if (text == outcomes[i]) return static_cast<Outcome>(i);
  throw std::invalid_argument("[results] there is no verdict '" + text + "'");
}

double Row::median() const {
  return seconds.empty() ? std::nan("") : quantile(seconds, 0.5);
}

void to_json(json& j, const Row& r) {
  j = {{"item", r.item},
       {"verdict", to_string(r.outcome)},
       {"near_ties", r.near_ties},
       {"compared", r.compared},
       {"seconds", r.seconds},
       {"cpu_seconds", r.cpu_seconds},
       {"iterations", r.iterations},
       {"bytes", r.cost.bytes},
       {"operations", r.cost.operations},
       {"read_share", r.read_share},
       {"footprint", r.footprint},
       {"noisy", r.noisy}};
  if (!r.message.empty()) j["message"] = r.message;
  if (!r.repeat.empty()) j["repeat"] = r.repeat;
  if (!r.rounding.empty()) j["rounding"] = r.rounding;
  if (r.prepare_seconds >= 0) j["prepare_seconds"] = r.prepare_seconds;
  if (!r.counters.empty()) j["counters"] = r.counters;
  if (!r.end_to_end.empty()) j["end_to_end"] = r.end_to_end;
  if (!r.memory.empty()) j["memory"] = r.memory;
}

void from_json(const json& j, Row& r) {
  r.item = j.at("item");
  r.outcome = parse_outcome(j.at("verdict"));
  r.message = j.value("message", "");
  r.repeat = j.value("repeat", "");
  r.rounding = j.value("rounding", "");
  r.near_ties = j.value("near_ties", std::size_t{0});
  r.compared = j.value("compared", std::size_t{0});
  r.seconds = j.value("seconds", std::vector<double>{});
  r.end_to_end = j.value("end_to_end", std::vector<double>{});
  r.memory = j.value("memory", std::vector<double>{});
  r.cpu_seconds = j.value("cpu_seconds", 0.0);
  r.iterations = j.value("iterations", int64_t{0});
  r.prepare_seconds = j.value("prepare_seconds", -1.0);
  r.cost.bytes = j.value("bytes", 0.0);
  r.cost.operations = j.value("operations", 0.0);
  // Earlier files knew copying and reading alone.
  r.read_share = j.value("read_share", j.value("only_reads", false) ? 1.0 : 0.5);
  r.footprint = j.value("footprint", 0.0);
  r.noisy = j.value("noisy", false);
  if (j.contains("counters")) r.counters = j.at("counters").get<std::map<std::string, double>>();
}

void to_json(json& j, const Settings& s) {
  j = {{"sample_seconds", s.sample_seconds},
       {"samples", s.samples},
       {"noise", s.noise},
       {"seconds", s.seconds},
       {"verify_only", s.verify_only},
       {"cold", s.cold},
       {"warm", s.warm},
       {"verify_images", s.verify_images},
       {"verify_elements", s.verify_elements},
       {"counters", s.counters},
       {"limit", s.limit},
       {"threads", s.threads},
       {"simt_seeds", s.simt_seeds}};
}

void from_json(const json& j, Settings& s) {
  s.sample_seconds = j.at("sample_seconds");
  s.samples = j.at("samples");
  s.noise = j.at("noise");
  s.seconds = j.at("seconds");
  s.verify_only = j.at("verify_only");
  s.cold = j.at("cold");
  s.warm = j.value("warm", false);
  s.verify_images = j.value("verify_images", int64_t{0});
  s.verify_elements = j.value("verify_elements", int64_t{0});
  s.counters = j.at("counters");
  s.limit = j.at("limit");
  s.threads = j.value("threads", 0);
  s.simt_seeds = j.at("simt_seeds");
}

}  // namespace rtfq::lab
