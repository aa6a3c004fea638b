#include "training/benchmark.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/json.h"
#include "training/benchmark_names.h"
#include "training/config_schema.h"
#include "training/presets.h"

namespace rtfq::benchmark {
namespace {

Settings settings_of(const Json& object) {
  Settings out;
  for (const auto& [key, value] : object.items())
    out.push_back(key + "=" + (value.is_string() ? value.get<std::string>() : print_json(value)));
  return out;
}

Recipe recipe_of(const Json& json) {
  Recipe recipe{json.at("base").get<std::string>(), {}, {}};
  if (json.contains("set")) recipe.settings = settings_of(json.at("set"));
  if (json.contains("epochs")) recipe.epochs = json.at("epochs").get<std::vector<double>>();
  return recipe;
}

Domain domain_of(const std::string& code, const Json& json) {
  Domain domain{
      code, json.at("title").get<std::string>(), json.at("names").get<std::vector<std::string>>(), {}};
  const Json& images = json.at("images");
  domain.images =
      images.is_array() ? images.get<std::vector<int64_t>>() : std::vector<int64_t>{images.get<int64_t>()};
  domain.train = json.value("train", int64_t{0});
  domain.test = json.value("test", int64_t{0});
  return domain;
}

Protocol protocol_of(const Preset& file) {
  const Json json = schema::parse_jsonc(file.text, file.name);
  Protocol p;
  p.name = file.name;
  p.title = json.at("title").get<std::string>();
  p.arch = json.at("arch").get<std::string>();
  p.metric = json.value("metric", "accuracy");
  p.classes = json.at("classes").get<int64_t>();
  p.splits = json.value("splits", false);
  for (const auto& [code, domain] : json.at("domains").items()) p.domains.push_back(domain_of(code, domain));
  p.tasks = json.at("tasks").get<std::vector<std::string>>();
  p.methods = json.at("methods").get<std::vector<std::string>>();
  if (json.contains("pretrained")) p.pretrained.push_back(recipe_of(json.at("pretrained")));
  p.random = recipe_of(json.at("random"));
  for (const Json& row : json.at("published")) {
    Published published;
    for (const auto& [key, value] : row.items())
      (key == "title" ? published.title : published.values[key]) = value.get<std::string>();
    p.published.push_back(published);
  }
  return p;
}

const std::vector<Protocol>& protocols() {
  static const std::vector<Protocol> all = [] {
    std::vector<Protocol> out;
    for (const Preset& file : benchmark_files()) out.push_back(protocol_of(file));
    return out;
  }();
  return all;
}

}  // namespace

std::string plain_name(const std::string& name) {
  std::string out;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool is_called(const Domain& domain, const std::string& name) {
  return std::any_of(domain.names.begin(), domain.names.end(),
                     [&](const std::string& known) { return plain_name(known) == plain_name(name); });
}

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const Protocol& p : protocols()) names.push_back(p.name);
  return names;
}

const Protocol& protocol(const std::string& name) {
  std::string known;
  for (const Protocol& p : protocols()) {
    if (plain_name(p.name) == plain_name(name)) return p;
    known += (known.empty() ? "" : ", ") + p.name;
  }
  throw std::invalid_argument("[benchmark] unknown benchmark '" + name + "': did you mean '" +
                              schema::nearest(name, protocol_names()) + "'? Known are " + known);
}

const Domain& Protocol::domain(const std::string& code_or_name) const {
  std::string known;
  for (const Domain& domain : domains) {
    if (plain_name(domain.code) == plain_name(code_or_name) || is_called(domain, code_or_name) ||
        plain_name(domain.title) == plain_name(code_or_name))
      return domain;
    known += (known.empty() ? "" : ", ") + domain.code + " (" + domain.title + ")";
  }
  throw std::invalid_argument("[benchmark] " + title + " has no domain '" + code_or_name + "': it has " +
                              known);
}

std::pair<std::string, std::string> domains_of(const Protocol& p, const std::string& task) {
  for (std::size_t at = task.find('2'); at != task.npos; at = task.find('2', at + 1)) {
    const std::string from = task.substr(0, at), to = task.substr(at + 1);
    const auto has = [&](const std::string& code) {
      return std::any_of(p.domains.begin(), p.domains.end(),
                         [&](const Domain& d) { return plain_name(d.code) == plain_name(code); });
    };
    if (has(from) && has(to) && plain_name(from) != plain_name(to))
      return {p.domain(from).code, p.domain(to).code};
  }
  std::string codes;
  for (const Domain& d : p.domains) codes += (codes.empty() ? "" : ", ") + d.code + " (" + d.title + ")";
  throw std::invalid_argument("[benchmark] '" + task + "' is no task of " + p.title + ": expected one like " +
                              p.tasks.front() + ", between two of " + codes);
}

Configured configure(const Protocol& p, const Located& located, const std::string& root,
                     const std::string& task, const Wanted& wanted) {
  const auto [from, to] = domains_of(p, task);
  const Place& source = located.places.at(from);
  const Place& target = located.places.at(to);
  if (!wanted.checkpoint.empty() && p.pretrained.empty())
    throw std::invalid_argument("[benchmark] " + p.title +
                                " is trained from random weights: leave --checkpoint out");
  const Recipe& recipe = wanted.checkpoint.empty() ? p.random : p.pretrained.front();
  const auto below = [&](const std::string& path) { return path.empty() ? root : root + "/" + path; };
  Configured out{recipe.base, recipe.settings};
  const auto set = [&](const std::string& key, const std::string& value) {
    out.settings.push_back(key + "=" + value);
  };
  set("model.arch", wanted.arch.empty() ? p.arch : wanted.arch);
  if (!wanted.checkpoint.empty()) set("checkpoint", wanted.checkpoint);
  set("data.source", below(source.train));
  set("data.target", below(target.train));
  if (target.test != target.train) set("data.evaluation", below(target.test));
  Settings all = out.settings;
  all.insert(all.end(), wanted.settings.begin(), wanted.settings.end());
  const Config config = parse_config(preset_text(recipe.base), "preset " + recipe.base, all);
  const TrainConfig& train = config.train;
  const double epoch =
      std::ceil(static_cast<double>(std::max(source.train_images, target.train_images)) / train.batch);
  // Where the preset counts in steps, these are the parts.
  double parts[3] = {static_cast<double>(train.float_steps), static_cast<double>(train.source_steps),
                     static_cast<double>(train.steps - train.float_steps - train.source_steps)};
  for (std::size_t i = 0; i < recipe.epochs.size(); ++i) parts[i] = recipe.epochs[i] * epoch;
  const double total = parts[0] + parts[1] + parts[2];
  const double factor = wanted.steps > 0 && total > 0 ? static_cast<double>(wanted.steps) / total : 1.0;
  if (factor == 1.0 && recipe.epochs.empty()) return out;
  set("train.steps", std::to_string(std::llround(total * factor)));
  set("train.float_steps", std::to_string(std::llround(parts[0] * factor)));
  set("train.source_steps", std::to_string(std::llround(parts[1] * factor)));
  return out;
}

}  // namespace rtfq::benchmark
