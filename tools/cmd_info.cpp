#include <cstdio>
#include <memory>

#include "tools/command.h"
#include "tools/table.h"
#include "training/network.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, preset;
  std::vector<std::string> settings;
  int64_t classes = 10;
};

template <class T>
std::string listed(const std::vector<T>& values) {
  std::string out;
  char text[32];
  for (const T value : values) {
    std::snprintf(text, sizeof text, "%g", static_cast<double>(value));
    out += (out.empty() ? "" : ", ") + std::string(text);
  }
  return out;
}

/// One row for each width and depth: what its stages look like and what it costs at the largest resolution.
std::string architectures(const Supernet& network, const Config& config) {
  const ResNetSpec& spec = network.spec();
  const Bank& bank = config.model.bank;
  std::vector<std::vector<std::string>> rows(1);
  rows[0] = {"width", "depth", "stem"};
  for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage)
    rows[0].push_back("stage " + std::to_string(stage + 1));
  for (const char* column : {"params", "MACs"}) rows[0].emplace_back(column);
  for (const double width : bank.widths)
    for (const double depth : bank.depths) {
      const Subnet subnet{width, depth, bank.resolutions.front(), bank.bits.front()};
      const auto channels = [&](int64_t full) {
        return std::to_string(scaled_channels(full, width, bank.multiple));
      };
      std::vector<std::string> row{listed(std::vector{width}), listed(std::vector{depth}),
                                   channels(spec.stem_channels)};
      for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage)
        row.push_back(std::to_string(scaled_blocks(spec.blocks[stage], depth)) + " x " +
                      channels(spec.channels[stage]) +
                      (spec.bottleneck ? "-" + channels(spec.stage_output(stage)) : ""));
      const SubnetCost cost = network.cost(subnet);
      row.push_back(quantity(static_cast<double>(cost.params)));
      row.push_back(quantity(static_cast<double>(cost.macs)));
      rows.push_back(row);
    }
  return table(rows);
}

void print_network(const Supernet& network, const Config& config) {
  const Bank& bank = config.model.bank;
  std::printf("network      %s, %lld classes, %d channel(s) in, residual %s\n", config.model.arch.c_str(),
              static_cast<long long>(network.options().classes), config.data.channels,
              config.model.residual.c_str());
  std::printf(
      "bank         %zu subnets: widths %s; depths %s; resolutions %s; bits %s; channels in multiples of "
      "%d\n",
      bank.subnets().size(), listed(bank.widths).c_str(), listed(bank.depths).c_str(),
      listed(bank.resolutions).c_str(), listed(bank.bits).c_str(), bank.multiple);
  std::printf("\nblocks x channels of each stage; parameters and multiply-adds at %d pixels\n%s",
              bank.resolutions.front(), architectures(network, config).c_str());
  std::vector<SubnetScore> ends;
  for (const Subnet& subnet : {bank.smallest(), bank.largest()})
    ends.push_back({subnet, network.cost(subnet), {}, {}});
  std::printf("\nsmallest and largest\n%s", score_table(ends).c_str());
}

int print_info(const Options& options) {
  if (options.run.empty() == options.preset.empty())
    throw UsageError("[info] give either RUN (or a checkpoint) or --preset NAME");
  if (!options.preset.empty()) {
    const Config config = load_config(options.preset, options.settings);
    const Supernet network = as_usage([&] { return Supernet(supernet_options(config, options.classes), 1); });
    print_network(network, config);
    return done;
  }
  if (!options.settings.empty()) throw UsageError("[info] --set goes with --preset; a run has its settings");
  const OpenedRun run = open_run(options.run);
  std::printf("checkpoint   %s, step %lld of %lld\n", run.checkpoint.c_str(),
              static_cast<long long>(run.bank.step), static_cast<long long>(run.bank.config.train.steps));
  std::printf("data         %s -> %s\n", run.bank.config.data.source.c_str(),
              run.bank.config.data.target.c_str());
  std::string classes;
  for (const std::string& name : run.bank.classes) classes += (classes.empty() ? "" : ", ") + name;
  std::printf("classes      %s\n", classes.c_str());
  print_network(*run.bank.network, run.bank.config);
  return done;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "what a run, a checkpoint or a preset consists of");
  command->add_option("run", options->run, "folder of a run, or a checkpoint")->type_name("RUN|CHECKPOINT");
  command->add_option("--preset,--config", options->preset, "a preset or a configuration file instead")
      ->type_name("NAME");
  command->add_option("--set", options->settings, "changes a key of the preset; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--classes", options->classes, "of a preset's data, which decide the classifier's size")
      ->check(CLI::Range(2, 1000000));
  command->footer(
      "Examples:\n"
      "  rtfq info runs/m2u\n"
      "  rtfq info --preset office31 --classes 31 --set bank=anyda48");
  command->callback([&action, options] { action = [options] { return print_info(*options); }; });
}

}  // namespace rtfq::cli
