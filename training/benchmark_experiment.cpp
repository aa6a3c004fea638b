// The experiment that a benchmark's table is made by.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "engine/json.h"
#include "engine/sha256.h"
#include "training/benchmark_names.h"
#include "training/config_schema.h"

namespace rtfq::benchmark {
namespace {

/// The weights that torchvision publishes, whose names end in the first digits of their hash.
const char* published_recipe(const std::string& hash) {
  static constexpr std::pair<const char*, const char*> known[] = {
      {"f37072fd", "torchvision ResNet-18 V1"},  {"b627a593", "torchvision ResNet-34 V1"},
      {"0676ba61", "torchvision ResNet-50 V1"},  {"11ad3fa6", "torchvision ResNet-50 V2"},
      {"63fe2227", "torchvision ResNet-101 V1"}, {"cd907fc2", "torchvision ResNet-101 V2"},
      {"394f9c45", "torchvision ResNet-152 V1"}, {"f82ba261", "torchvision ResNet-152 V2"}};
  for (const auto& [digits, name] : known)
    if (hash.starts_with(digits)) return name;
  return "none of torchvision's published files";
}

std::string sha256_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  if (!in || !(bytes << in.rdbuf())) throw std::invalid_argument("[benchmark] cannot read " + path);
  const std::string text = bytes.str();
  return sha256(text.data(), text.size());
}

/// What is to be known beside every table.
std::string footer_of(const Protocol& p, const Located& located, const Wanted& wanted, const Config& config,
                      const std::vector<std::string>& left_out) {
  const DataConfig& data = config.data;
  const std::string side = std::to_string(data.resize),
                    largest = std::to_string(config.model.bank.resolutions[0]);
  std::string text = "Images: ";
  if (data.resize == 0)
    text += "squashed to " + largest + " x " + largest;
  else
    text +=
        (data.resize_mode == "squash" ? "squashed to " + side + " x " + side : "shorter side to " + side) +
        ", then the centre " + largest + " x " + largest;
  text += " (" + data.interpolation + ", antialiased). Accuracy: " +
          (p.metric == "class_mean" ? "mean over the classes of each class's accuracy"
                                    : "share of all target images") +
          ", last model, no target label used in training or in choosing. Domains (images, start of the "
          "SHA-256 of the list): ";
  bool first = true;
  for (const Domain& domain : p.domains) {
    const auto at = located.places.find(domain.code);
    if (at == located.places.end()) continue;
    const Place& place = at->second;
    text += (first ? "" : ", ") + domain.title + " (" + std::to_string(place.train_images) +
            (place.test == place.train ? "" : " + " + std::to_string(place.test_images) + " for the test") +
            ", " + place.hash.substr(0, 12) + ")";
    first = false;
  }
  text += ". Start: ";
  if (wanted.checkpoint.empty()) {
    text += "random weights";
  } else {
    const std::string hash = sha256_of_file(wanted.checkpoint);
    text += std::filesystem::path(wanted.checkpoint).filename().string() + ", SHA-256 " + hash.substr(0, 12) +
            " (" + published_recipe(hash) + ")";
  }
  text += ".";
  if (!left_out.empty()) {
    text += " Tasks left out, since a domain is missing:";
    for (const std::string& task : left_out) text += " " + task;
    text += ".";
  }
  return text;
}

Json method_table(const Json& all, const std::vector<std::string>& names) {
  Json out = Json::object();
  std::vector<std::string> known;
  for (const auto& [name, value] : all.items()) known.push_back(name);
  for (const std::string& name : names) {
    if (!all.contains(name)) {
      std::string list;
      for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
      throw std::invalid_argument("[benchmark] unknown method '" + name + "': did you mean '" +
                                  schema::nearest(name, known) + "'? Known are " + list);
    }
    out[name] = all.at(name);
  }
  return out;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Json published_rows(const Protocol& p) {
  Json rows = Json::array();
  for (const Published& published : p.published) {
    Json row{{"title", published.title}};
    for (const auto& [task, value] : published.values) row[task] = value;
    rows.push_back(row);
  }
  return rows;
}

Json tables_of(const Protocol& p, const std::vector<std::string>& methods,
               const std::vector<std::string>& tasks) {
  std::vector<std::string> banks, columns = tasks;
  for (const char* name : {"rtfq", "rtff", "ptq", "sandwich", "uniform"})
    if (has(methods, name)) banks.push_back(name);
  columns.push_back("mean");
  Json tables = Json::object();
  tables["tasks"] = {{"title", "Every task, largest subnet"},
                     {"methods", methods},
                     {"tasks", columns},
                     {"values", "largest"}};
  if (!p.published.empty()) tables["tasks"]["published"] = published_rows(p);
  if (banks.empty()) return tables;
  tables["subnets"] = {{"title", "Every subnet, mean over tasks"},
                       {"kind", "subnets"},
                       {"methods", methods},
                       {"tasks", "mean"}};
  std::string beside;
  for (const Published& published : p.published)
    if (published.values.contains("mean"))
      beside += (beside.empty() ? "" : "; ") + published.title + " " + published.values.at("mean");
  if (!beside.empty()) tables["subnets"]["note"] = "To stand beside: " + beside + ".";
  tables["budgets"] = {
      {"title", "Average accuracy within a budget"},
      {"methods", banks},
      {"tasks", "mean"},
      {"values",
       {"fit bitops 1", "fit bitops 1/2", "fit bitops 1/4", "fit bitops 1/16", "fit bitops 1/28",
        "fit bitops 1/64", "fit bitops 1/128"}},
      {"note",
       "BitOPs as a fraction of the largest network's at full precision; the most expensive subnet that "
       "fits, whatever its accuracy."}};
  if (has(methods, "rtfq") && has(methods, "bits8") && has(methods, "bits6") && has(methods, "bits4"))
    tables["joint"] = {{"title", "Joint training of bit-widths against each bit-width alone"},
                       {"methods", {"rtfq", "single"}},
                       {"tasks", "mean"},
                       {"values", {"mean bits=8", "mean bits=6", "mean bits=4", "worst"}}};
  if (has(methods, "rtfq"))
    tables["reduction"] = {{"title", "Memory and computation against the full-precision network"},
                           {"kind", "reduction"},
                           {"methods", "rtfq"}};
  return tables;
}

Json plots_of(const std::vector<std::string>& methods) {
  Json plots = Json::object();
  if (has(methods, "rtfq"))
    plots["bits"] = {{"title", "All subnets, mean over tasks"}, {"methods", "rtfq"}, {"by", "bits"}};
  plots["methods"] = {{"title", "Accuracy and BitOPs by method, mean over tasks"}, {"methods", methods}};
  plots["bytes"] = {{"title", "Accuracy and memory, mean over tasks"}, {"methods", methods}, {"x", "bytes"}};
  return plots;
}

}  // namespace

std::string experiment_text(const Protocol& p, const Located& located, const Wanted& wanted,
                            std::vector<std::string>& notes) {
  std::vector<std::string> tasks, left_out;
  for (const std::string& asked : wanted.tasks.empty() ? p.tasks : wanted.tasks) {
    const auto [from, to] = domains_of(p, asked);
    const std::string task = from + "2" + to;
    (located.places.count(from) && located.places.count(to) ? tasks : left_out).push_back(task);
  }
  if (tasks.empty())
    throw std::invalid_argument("[benchmark] no task is left: each has a domain that is missing (" +
                                (located.notes.empty() ? "" : located.notes.front()) + ")");
  std::string list;
  for (const std::string& task : left_out) list += (list.empty() ? "" : ", ") + task;
  if (!list.empty()) notes.push_back("left out, since a domain is missing: " + list);

  const Json shared = schema::parse_jsonc(shared_methods(), "methods");
  const std::vector<std::string>& methods = wanted.methods.empty() ? p.methods : wanted.methods;
  Json json{{"name", p.name}, {"title", p.title + ", " + std::to_string(tasks.size()) + " tasks"}};
  json["claim"] =
      p.pretrained.empty() || wanted.checkpoint.empty()
          ? "From random weights; published numbers start from ImageNet weights unless they say so."
          : "From pretrained weights.";
  if (p.pretrained.empty()) json["claim"] = "From random weights, as the published numbers are.";
  Config config;
  for (const std::string& task : tasks) {
    const auto [from, to] = domains_of(p, task);
    const Configured configured = configure(p, located, "{root}", task, wanted);
    Json settings{{"title", p.domain(from).title + " to " + p.domain(to).title}};
    json["base"] = configured.base;
    for (const std::string& setting : configured.settings) {
      const std::size_t equals = setting.find('=');
      const std::string text = setting.substr(equals + 1);
      Json value = parse_json(text);
      settings[setting.substr(0, equals)] = value.is_discarded() ? Json(text) : value;
    }
    json["tasks"][task] = settings;
    if (task == tasks.front()) {
      Settings all = configured.settings;
      all.insert(all.end(), wanted.settings.begin(), wanted.settings.end());
      config = parse_config(preset_text(configured.base), "preset " + configured.base, all);
    }
  }
  json["methods"] = method_table(shared.at("methods"), methods);
  if (has(methods, "bits8") && has(methods, "bits6") && has(methods, "bits4"))
    json["groups"] = shared.at("groups");
  json["seeds"] = Json::array();
  for (int seed = 1; seed <= wanted.seeds; ++seed) json["seeds"].push_back(seed);
  json["evaluate"] = {{"subnets", "all"}, {"metric", p.metric}};
  json["tables"] = tables_of(p, methods, tasks);
  json["plots"] = plots_of(methods);
  json["footer"] = footer_of(p, located, wanted, config, left_out);
  return print_json(json, 1) + "\n";
}

}  // namespace rtfq::benchmark
