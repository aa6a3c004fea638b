#include "training/experiment_runs.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "training/network.h"
#include "training/quantize.h"

namespace rtfq::experiment {
namespace {

/// "{root}" replaced in the settings that say where data are; the first name that has no value goes to
/// `undefined`.
Settings with_roots(Settings settings, const std::map<std::string, std::string>& roots,
                    std::string* undefined) {
  for (std::string& setting : settings) {
    if (!setting.starts_with("data.source=") && !setting.starts_with("data.target=") &&
        !setting.starts_with("data.evaluation="))
      continue;
    for (std::size_t open = setting.find('{'); open != setting.npos; open = setting.find('{', open + 1)) {
      const std::size_t close = setting.find('}', open);
      if (close == setting.npos) break;
      const std::string name = setting.substr(open + 1, close - open - 1);
      const auto root = roots.find(name);
      if (root == roots.end()) {
        *undefined = name;
        continue;
      }
      setting.replace(open, close - open + 1, root->second);
      open += root->second.size();
      open -= open > 0;
    }
  }
  return settings;
}

void append(Settings& to, const Settings& more) {
  to.insert(to.end(), more.begin(), more.end());
}

Config config_of(const std::string& base, const Settings& settings) {
  return base.ends_with(".json") || base.ends_with(".jsonc")
             ? read_config(base, settings)
             : parse_config(preset_text(base), "preset " + base, settings);
}

class Lister {
 public:
  Lister(const Experiment& experiment, const Invocation& invocation)
      : experiment_(experiment), invocation_(invocation) {}

  std::vector<Run> list() {
    for (const RunSet& set : experiment_.runs)
      for (const uint64_t seed : set.seeds)
        for (const std::string& task : set.tasks)
          for (const std::string& method : set.methods) wanted_.push_back({task, method, seed});
    for (const Key& key : wanted_) add(key);
    return std::move(runs_);
  }

 private:
  struct Key {
    std::string task, method;
    uint64_t seed;
    bool operator==(const Key&) const = default;
  };

  int find(const Key& key) const {
    for (std::size_t i = 0; i < runs_.size(); ++i)
      if (runs_[i].task == key.task && runs_[i].method == key.method && runs_[i].seed == key.seed)
        return static_cast<int>(i);
    return -1;
  }

  int add(const Key& key) {
    if (const int there = find(key); there >= 0) return there;
    const Method& method = experiment_.method(key.method);
    Run run{.task = key.task, .method = key.method, .seed = key.seed};
    run.folder = invocation_.out + "/runs/" + run.id();
    if (!method.quantize.empty()) {
      const Key origin{key.task, method.quantize, key.seed};
      if (std::find(wanted_.begin(), wanted_.end(), origin) == wanted_.end())
        throw std::invalid_argument("[experiment] " + experiment_.path + ": runs: " + run.id() +
                                    " is quantized from " + method.quantize +
                                    ", which does not run on that task with that seed: add it to "
                                    "'runs'");
      run.parent = add(origin);
    }
    configure(run, method);
    runs_.push_back(run);
    return static_cast<int>(runs_.size()) - 1;
  }

  void configure(Run& run, const Method& method) {
    const Task& task = experiment_.task(run.task);
    run.base = task.base;
    if (run.parent >= 0) {
      run.settings = method.settings;
      run.undefined = runs_[static_cast<std::size_t>(run.parent)].undefined;
    } else {
      for (const Settings* settings : {&experiment_.settings, &task.settings, &method.settings})
        append(run.settings, *settings);
      run.settings.push_back("train.seed=" + std::to_string(run.seed));
      append(run.settings, invocation_.settings);
      run.settings = with_roots(run.settings, invocation_.roots, &run.undefined);
    }
    try {
      run.config = run.parent >= 0
                       ? quantized_config(runs_[static_cast<std::size_t>(run.parent)].config, run.settings)
                       : config_of(run.base, run.settings);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("[experiment] " + experiment_.path + ": method '" + run.method +
                                  "' on task '" + run.task + "': " + error.what());
    }
  }

  const Experiment& experiment_;
  const Invocation& invocation_;
  std::vector<Key> wanted_;
  std::vector<Run> runs_;
};

}  // namespace

std::vector<Run> list_runs(const Experiment& experiment, const Invocation& invocation) {
  return Lister(experiment, invocation).list();
}

std::vector<Subnet> evaluated_subnets(const Experiment& experiment, const Run& run) {
  const std::vector<Subnet> trained = trained_subnets(run.config);
  const Evaluation& evaluation = experiment.evaluation;
  if (evaluation.subnets == "all" || trained.size() == 1) return trained;
  const Bank& bank = run.config.model.bank;
  std::vector<Subnet> out;
  const auto add = [&](const Subnet& subnet) {
    if (std::find(out.begin(), out.end(), subnet) == out.end()) out.push_back(subnet);
  };
  if (evaluation.subnets == "corners") {
    for (Subnet subnet : {bank.largest(), bank.smallest()})
      for (const int bits : {bank.bits.front(), bank.bits.back()}) {
        subnet.bits = bits;
        add(subnet);
      }
  } else {
    for (const std::string& text : evaluation.listed) add(parse_subnet(text, bank));
  }
  return out;
}

std::string evaluation_name(const Experiment& experiment) {
  return std::string("target") + (experiment.evaluation.held_out ? " held out" : "") +
         (experiment.evaluation.source ? " and source" : "");
}

}  // namespace rtfq::experiment
