#include "tools/packed_file.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "kernels/cpu/features.h"
#include "kernels/runtime/device.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "training/environment.h"
#include "training/network.h"

namespace rtfq::cli {
namespace {

std::string milliseconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}

std::string meaning(const packed::Model& model, const std::string& criterion) {
  for (const packed::Criterion& c : model.criteria())
    if (criterion.empty() || c.name == criterion) return c.name + ": " + c.words;
  return "most BitOPs: the file was packed without scores";
}

packed::Preprocessing preprocessing_of(const Config& config) {
  const data::Augmentation a = loader_options(config, Domain::target, false).augmentation;
  return {config.data.channels,
          config.data.mean,
          config.data.deviation,
          a.resize,
          a.squash,
          a.bicubic,
          config.data.exif,
          config.model.bank.resolutions.front()};
}

/// Measured one after the other, since each needs its weights laid out.
double measure_one(const std::shared_ptr<deploy::LoadedModel>& loaded, std::size_t subnet, int64_t batch,
                   int threads, int runs) {
  deploy::Session session(loaded, {threads, batch, {subnet}});
  return session.measure(subnet, runs);
}

}  // namespace

packed::PackInfo pack_info(const OpenedRun& run, const std::vector<packed::SubnetEntry>& entries) {
  packed::PackInfo info;
  const auto built = environment(0);
  info.made_by = "rtfq " + built.at("version") + " (" + built.at("commit") + ")";
  info.classes = run.bank.classes;
  info.preprocessing = preprocessing_of(run.bank.config);
  for (const Criterion& by : criteria())
    if (std::any_of(entries.begin(), entries.end(),
                    [&](const auto& e) { return e.scores.count(by.name) > 0; }))
      info.criteria.push_back({by.name, by.words});

  return info;
}

deploy::Limits limits_of(const std::vector<Limit>& limits) {
  deploy::Limits all;
  for (const Limit& limit : limits) {
    const std::string& name = limit.cost->name;
    (name == "macs"     ? all.macs
     : name == "bitops" ? all.bitops
     : name == "bytes"  ? all.bytes
     : name == "memory" ? all.memory
                        : all.latency_ms) = limit.value;
  }
  return all;
}

std::optional<std::size_t> best_subnet(const std::shared_ptr<deploy::LoadedModel>& loaded,
                                       const deploy::Limits& limits, const std::string& criterion,
                                       int threads) {
  constexpr int runs = 9;
  const auto order = as_usage([&] { return deploy::candidates(*loaded, limits, criterion); });
  for (const std::size_t i : order)
    if (!limits.latency_ms || measure_one(loaded, i, 1, threads, runs) <= *limits.latency_ms) return i;
  return {};
}

int select_packed(const std::string& file, const std::vector<Limit>& limits, const std::string& criterion,
                  bool json) {
  const auto loaded = deploy::LoadedModel::from_file(file);
  const packed::Model& model = loaded->model();
  const auto best = best_subnet(loaded, limits_of(limits), criterion, 0);
  if (!best) {
    note("[select] no subnet of " + file + " fits");
    return nothing_fits;
  }
  const packed::SubnetEntry& entry = model.subnets()[*best];
  const auto latency = loaded->latency(*best);
  if (json) {
    Json answer{{"id", id(entry.subnet)},      {"width", entry.subnet.width},
                {"depth", entry.subnet.depth}, {"resolution", entry.subnet.resolution},
                {"bits", entry.subnet.bits},   {"params", entry.cost.params},
                {"bytes", entry.cost.bytes},   {"macs", entry.cost.macs},
                {"bitops", entry.cost.bitops}, {"memory", entry.cost.memory},
                {"scores", entry.scores},      {"latency_ms", latency ? Json(*latency) : Json(nullptr)}};
    std::printf("%s\n", print_json(answer, 1).c_str());
    return done;
  }
  std::vector<std::string> head{"subnet", "MACs", "BitOPs", "bytes", "memory"};
  std::vector<std::string> row{id(entry.subnet), quantity(static_cast<double>(entry.cost.macs)),
                               quantity(static_cast<double>(entry.cost.bitops)),
                               quantity(static_cast<double>(entry.cost.bytes)),
                               quantity(static_cast<double>(entry.cost.memory))};
  for (const auto& [name, score] : entry.scores) {
    head.push_back(name);
    row.push_back(milliseconds(score));
  }
  if (latency) {
    head.push_back("ms");
    row.push_back(milliseconds(*latency));
  }
  std::printf("%schosen by %s\n", table({head, row}).c_str(), meaning(model, criterion).c_str());
  return done;
}

int describe_packed(const std::string& file, const std::string& subnet) {
  const auto loaded = deploy::LoadedModel::from_file(file);
  const packed::Model& model = loaded->model();
  const auto& subnets = model.subnets();
  const std::size_t chosen =
      as_usage([&] { return model.index(parse_subnet_values(subnet, subnets.front().subnet)); });
  std::string classes;
  for (const std::string& name : model.classes()) classes += (classes.empty() ? "" : ", ") + name;
  std::printf(
      "file         %s, %sB, version %u, made by %s\nclasses      %s\nimage        %d channel(s), %d "
      "pixels\n\n",
      file.c_str(), quantity(static_cast<double>(loaded->file_bytes())).c_str(), model.version(),
      model.made_by().c_str(), classes.c_str(), model.preprocessing().channels, model.preprocessing().crop);
  std::vector<std::vector<std::string>> rows{{"subnet", "params", "MACs", "BitOPs", "bytes", "memory"}};
  for (const packed::Criterion& c : model.criteria()) rows[0].push_back(c.name);
  for (const packed::SubnetEntry& entry : subnets) {
    rows.push_back({id(entry.subnet)});
    for (const double cost : {static_cast<double>(entry.cost.params), static_cast<double>(entry.cost.macs),
                              static_cast<double>(entry.cost.bitops), static_cast<double>(entry.cost.bytes),
                              static_cast<double>(entry.cost.memory)})
      rows.back().push_back(quantity(cost));
    for (const packed::Criterion& c : model.criteria()) {
      const auto score = entry.scores.find(c.name);
      rows.back().push_back(score == entry.scores.end() ? "-" : milliseconds(score->second));
    }
  }
  std::printf("%s", table(rows).c_str());

  const deploy::Program made(model, chosen, 1, loaded->weights());
  rows = {{"layer", "filters", "x", "weights", "operator", "kernel"}};
  for (const deploy::ProductLayer& layer : made.layers()) {
    const int bits = model.layer(layer.name).used_bits(subnets[chosen].subnet.bits);
    rows.push_back({layer.name,
                    std::to_string(layer.k) + " of " + std::to_string(layer.filter) + "x" +
                        std::to_string(layer.filter) + "x" + std::to_string(layer.c),
                    kernels::type_name(layer.x),
                    std::string(kernels::type_name(layer.w)) + ", " + std::to_string(bits) + " bits",
                    layer.operation, layer.kernel});
  }
  std::printf("\nlayers of %s on this machine (%s); sums are s32\n%s", id(subnets[chosen].subnet).c_str(),
              kernels::cpu::describe_features().c_str(), table(rows).c_str());
  return done;
}

int measure_packed(const std::string& file, const LatencyOptions& options, int threads) {
  const auto loaded = deploy::LoadedModel::from_file(file);
  const auto& subnets = loaded->model().subnets();
  const int runs =
      static_cast<int>(std::max<int64_t>(3, (options.images + options.batch - 1) / options.batch));
  std::vector<std::vector<std::string>> rows{{"subnet", "MACs", "ms", "images/s"}};
  CountProgress progress("measuring subnets:");
  for (std::size_t i = 0; i < subnets.size(); ++i) {
    const double median = measure_one(loaded, i, options.batch, threads, runs);
    rows.push_back({id(subnets[i].subnet), quantity(static_cast<double>(subnets[i].cost.macs)),
                    milliseconds(median), quantity(1e3 * options.batch / median)});
    progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(subnets.size()));
  }
  std::printf("%smedian of %d passes of %d image(s) on integers, %d thread(s), %s (%s)\n",
              table(rows).c_str(), runs, options.batch, threads ? threads : kernels::runtime::threads(),
              machine_name().c_str(), kernels::cpu::describe_features().c_str());
  return done;
}

}  // namespace rtfq::cli
