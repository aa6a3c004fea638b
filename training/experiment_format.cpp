// Reading experiment files: include files merged, every key known, every name defined.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>

#include "training/experiment_json.h"

namespace rtfq::experiment {
namespace fs = std::filesystem;
namespace {

/// A section of named objects, with the file that each came from: those of included files, replaced by name.
struct Merged {
  Json root = Json::object();
  std::vector<std::pair<std::string, std::string>> origins;  ///< "methods.rtfq" -> file

  Place place(const std::string& key) const {
    for (auto it = origins.rbegin(); it != origins.rend(); ++it)
      if (it->first == key) return {it->second, key};
    return {origins.empty() ? "" : origins.back().second, key};
  }
};

const Names top_keys{"include", "name",  "title", "claim",    "base",   "set",   "tasks", "methods",
                     "groups",  "seeds", "runs",  "evaluate", "tables", "plots", "footer"};

std::string contents_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream contents;
  if (!in || !(contents << in.rdbuf())) Place{path, ""}.fail("cannot be read");
  return contents.str();
}

void merge_text(Merged& merged, const std::string& contents, const std::string& path, int depth) {
  const Place place{path, ""};
  if (depth > 8) place.fail("includes itself");
  const Json json = schema::parse_jsonc(contents, path);
  require_keys(json, top_keys, place);
  if (json.contains("include"))
    for (const std::string& file : texts(json.at("include"), place.at("include"))) {
      const std::string included = (fs::path(path).parent_path() / file).lexically_normal().string();
      merge_text(merged, contents_of(included), included, depth + 1);
    }
  for (const auto& [key, value] : json.items()) {
    if (key == "include") continue;
    const bool named = key == "tasks" || key == "methods" || key == "groups" || key == "tables" ||
                       key == "plots" || key == "set";
    merged.origins.emplace_back(key, path);
    if (!named) {
      merged.root[key] = value;
      continue;
    }
    for (const auto& [name, member] : object(value, place.at(key)).items()) {
      merged.root[key][name] = member;
      merged.origins.emplace_back(key + "." + name, path);
    }
  }
}

Names names_of(const Json& root, const char* section) {
  Names out;
  if (root.contains(section))
    for (const auto& [name, value] : root.at(section).items()) out.push_back(name);
  return out;
}

/// Reads a file that was merged.
class Reader {
 public:
  Reader(const std::string& contents, const std::string& path) {
    experiment_.path = path;
    merge_text(merged_, contents, path, 0);
    tasks_ = names_of(root(), "tasks");
    methods_ = names_of(root(), "methods");
    rows_ = methods_;
    for (const std::string& name : names_of(root(), "groups")) rows_.push_back(name);
  }

  Experiment read() {
    read_head();
    each("tasks", [&](const std::string& name, const Json& json, const Place& place) {
      read_task(name, json, place);
    });
    each("methods", [&](const std::string& name, const Json& json, const Place& place) {
      read_method(name, json, place);
    });
    each("groups", [&](const std::string& name, const Json& json, const Place& place) {
      read_group(name, json, place);
    });
    read_runs();
    if (has("evaluate")) read_evaluation(root().at("evaluate"), merged_.place("evaluate"));
    each("tables", [&](const std::string& name, const Json& json, const Place& place) {
      read_table(name, json, place);
    });
    each("plots", [&](const std::string& name, const Json& json, const Place& place) {
      read_plot(name, json, place);
    });
    return std::move(experiment_);
  }

 private:
  const Json& root() const { return merged_.root; }
  bool has(const char* key) const { return root().contains(key); }

  template <class Read>
  void each(const char* section, const Read& read) {
    if (!has(section)) return;
    for (const auto& [name, json] : root().at(section).items()) {
      const Place place = merged_.place(std::string(section) + "." + name);
      require_plain_name(name, place);
      read(name, object(json, place), place);
    }
  }

  std::string required(const char* key) const {
    if (!has(key)) Place{experiment_.path, ""}.fail("lacks '" + std::string(key) + "'");
    return text(root().at(key), merged_.place(key));
  }

  void read_head() {
    experiment_.name = required("name");
    require_plain_name(experiment_.name, merged_.place("name"));
    experiment_.title = required("title");
    experiment_.claim = required("claim");
    for (const char* section : {"tasks", "methods", "seeds"})
      if (!has(section) || root().at(section).empty())
        Place{experiment_.path, ""}.fail("lacks '" + std::string(section) + "'");
    if (has("footer")) experiment_.footer = text(root().at("footer"), merged_.place("footer"));
    if (has("base")) experiment_.base = base(root().at("base"), merged_.place("base"));
    if (has("set")) experiment_.settings = settings(root().at("set"), {}, merged_.place("set"));
    experiment_.seeds = seeds(root().at("seeds"), merged_.place("seeds"));
  }

  void read_task(const std::string& name, const Json& json, const Place& place) {
    Task task{name, name, experiment_.base, settings(json, {"title", "base"}, place)};
    if (json.contains("title")) task.title = text(json.at("title"), place.at("title"));
    if (json.contains("base")) task.base = base(json.at("base"), place.at("base"));
    if (task.base.empty())
      place.fail(
          "has no base configuration: give it, or the experiment, a 'base' (a preset's name or a file)");
    experiment_.tasks.push_back(task);
  }

  void read_method(const std::string& name, const Json& json, const Place& place) {
    Method method{name, name, "", settings(json, {"title", "quantize"}, place)};
    if (json.contains("title")) method.title = text(json.at("title"), place.at("title"));
    if (json.contains("quantize"))
      method.quantize =
          known(text(json.at("quantize"), place.at("quantize")), methods_, "method", place.at("quantize"));
    if (method.quantize == name) place.fail("quantizes itself");
    if (!method.quantize.empty() && root().at("methods").at(method.quantize).contains("quantize"))
      place.fail("quantizes '" + method.quantize +
                 "', which is made by quantizing too: name a trained method");
    experiment_.methods.push_back(method);
  }

  void read_group(const std::string& name, const Json& json, const Place& place) {
    require_keys(json, {"title", "methods"}, place);
    if (std::find(methods_.begin(), methods_.end(), name) != methods_.end())
      place.fail("a method has this name already");
    Group group{name, name, {}};
    if (json.contains("title")) group.title = text(json.at("title"), place.at("title"));
    if (json.contains("methods"))
      group.methods = choose(json.at("methods"), methods_, "method", place.at("methods"));
    if (group.methods.empty()) place.fail("lacks 'methods'");
    experiment_.groups.push_back(group);
  }

  Names choose(const Json& json, const Names& from, const char* what, const Place& place) const {
    Names out = texts(json, place);
    for (const std::string& name : out) known(name, from, what, place);
    if (std::set(out.begin(), out.end()).size() != out.size()) place.fail("a name appears twice");
    return out;
  }

  void read_runs() {
    if (!has("runs")) {
      experiment_.runs = {{methods_, tasks_, experiment_.seeds}};
      return;
    }
    const Place place = merged_.place("runs");
    if (!root().at("runs").is_array() || root().at("runs").empty())
      place.fail("expected a list of {methods, tasks, seeds}, got " + shown(root().at("runs")));
    for (const Json& json : root().at("runs")) {
      require_keys(json, {"methods", "tasks", "seeds"}, place);
      RunSet set{methods_, tasks_, experiment_.seeds};
      if (json.contains("methods")) set.methods = choose(json.at("methods"), methods_, "method", place);
      if (json.contains("tasks")) set.tasks = choose(json.at("tasks"), tasks_, "task", place);
      if (json.contains("seeds")) set.seeds = seeds(json.at("seeds"), place);
      experiment_.runs.push_back(set);
    }
  }

  void read_evaluation(const Json& json, const Place& place) {
    require_keys(json, {"subnets", "metric", "source", "held_out"}, place);
    Evaluation& evaluation = experiment_.evaluation;
    if (json.contains("subnets")) {
      if (json.at("subnets").is_array()) {
        evaluation.subnets = "listed";
        evaluation.listed = texts(json.at("subnets"), place.at("subnets"));
      } else {
        evaluation.subnets = choice(json.at("subnets"), {"all", "corners"}, place.at("subnets"));
      }
    }
    if (json.contains("metric"))
      evaluation.metric = choice(json.at("metric"), {"accuracy", "class_mean"}, place.at("metric"));
    if (json.contains("source")) evaluation.source = yes_no(json.at("source"), place.at("source"));
    if (json.contains("held_out")) evaluation.held_out = yes_no(json.at("held_out"), place.at("held_out"));
  }

  void read_table(const std::string& name, const Json& json, const Place& place) {
    using Kind = TableSpec::Kind;
    const Names kinds{"accuracy", "subnets", "reduction", "cost"};
    TableSpec table{.name = name, .title = name};
    const std::string kind =
        json.contains("kind") ? choice(json.at("kind"), kinds, place.at("kind")) : kinds[0];
    table.kind = static_cast<Kind>(std::find(kinds.begin(), kinds.end(), kind) - kinds.begin());
    Names keys{"title", "note", "kind", "methods", "tasks"};
    if (table.kind == Kind::accuracy) keys.insert(keys.end(), {"values", "published"});
    if (table.kind == Kind::subnets) keys.push_back("subnets");
    if (table.kind == Kind::cost) keys.push_back("alone");
    require_keys(json, keys, place);
    if (json.contains("title")) table.title = text(json.at("title"), place.at("title"));
    if (json.contains("note")) table.note = text(json.at("note"), place.at("note"));
    table.methods = json.contains("methods")
                        ? choose(json.at("methods"), rows_, "method", place.at("methods"))
                        : methods_;
    table.tasks = json.contains("tasks") ? choose_tasks(json.at("tasks"), place.at("tasks")) : tasks_;
    if (json.contains("subnets"))
      table.subnets = choice(json.at("subnets"), {"all", "corners"}, place.at("subnets"));
    if (table.kind == Kind::accuracy) {
      const Names values =
          json.contains("values") ? texts(json.at("values"), place.at("values")) : Names{"largest"};
      for (const std::string& value : values) try {
          table.values.push_back(parse_value(value));
        } catch (const std::invalid_argument& error) {
          place.at("values").fail(error.what());
        }
    }
    if (json.contains("published"))
      for (const Json& row : json.at("published")) read_published(table, row, place.at("published"));
    if (table.kind == Kind::cost) {
      if (!json.contains("alone"))
        place.fail("lacks 'alone': the method or group of subnets trained one by one");
      table.alone = known(text(json.at("alone"), place.at("alone")), rows_, "method", place.at("alone"));
    }
    experiment_.tables.push_back(table);
  }

  void read_published(TableSpec& table, const Json& json, const Place& place) const {
    PublishedRow row;
    for (const auto& [key, value] : object(json, place).items()) {
      if (key == "title")
        row.title = text(value, place.at(key));
      else  // of a task that this experiment may have left out
        row.values.emplace_back(key, text(value, place.at(key)));
    }
    if (row.title.empty()) place.fail("a row lacks 'title'");
    table.published.push_back(row);
  }

  Names choose_tasks(const Json& json, const Place& place) const {
    Names with_mean = tasks_;
    with_mean.push_back("mean");
    return choose(json, with_mean, "task", place);
  }

  void read_plot(const std::string& name, const Json& json, const Place& place) {
    require_keys(json, {"title", "x", "by", "task", "methods"}, place);
    PlotSpec plot{
        .name = name, .title = name, .task = tasks_.size() == 1 ? tasks_[0] : "mean", .methods = methods_};
    if (json.contains("title")) plot.title = text(json.at("title"), place.at("title"));
    if (json.contains("x"))
      plot.x = choice(json.at("x"), {"bitops", "macs", "bytes", "params"}, place.at("x"));
    if (json.contains("by")) plot.by = choice(json.at("by"), {"method", "bits"}, place.at("by"));
    if (json.contains("task")) {
      const Names chosen = choose_tasks(json.at("task"), place.at("task"));
      if (chosen.size() != 1) place.at("task").fail("expected one task, or 'mean'");
      plot.task = chosen[0];
    }
    if (json.contains("methods"))
      plot.methods = choose(json.at("methods"), rows_, "method", place.at("methods"));
    experiment_.plots.push_back(plot);
  }

  Experiment experiment_;
  Merged merged_;
  Names tasks_, methods_, rows_;  ///< rows_: methods and groups
};

}  // namespace

Experiment read_experiment(const std::string& path) {
  return parse_experiment(contents_of(path), path);
}

Experiment parse_experiment(const std::string& text, const std::string& path) {
  return Reader(text, path).read();
}

}  // namespace rtfq::experiment
