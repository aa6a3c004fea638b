#include <cstdio>
#include <memory>

#include "tools/command.h"
#include "tools/packed_file.h"
#include "tools/table.h"
#include "training/network.h"
#include "training/start.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, preset, subnet;
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

/// What each subnet adds: statistics of its own a domain; scale and shift, which others may share.
void print_norms(const Supernet& network) {
  const Bank& bank = network.options().bank;
  const auto statistics = [&](const Subnet& subnet) {
    int64_t bytes = 0;
    for (const ConvPlan& conv : plan(network.spec(), subnet, bank.multiple, network.options().image_channels))
      bytes += 2 * conv.k * static_cast<int64_t>(sizeof(float));
    return quantity(static_cast<double>(bytes));
  };
  int64_t own = 0, affine = 0, sets = 0;
  for (const auto& [name, tensor] : network.buffers()) own += static_cast<int64_t>(tensor.bytes());
  for (const Parameter* p : network.parameters())
    if (p->kind == ParameterKind::norm) affine += static_cast<int64_t>(p->value.bytes()), ++sets;
  sets /= 2 * static_cast<int64_t>(network.norms().size());  // of scales and shifts, in each norm
  const std::size_t domains = network.options().domain_norms ? 2 : 1;
  const std::size_t users = bank.subnets().size() * domains;
  std::printf(
      "norms        mean and variance: %s (smallest) to %s bytes for each subnet and domain, their own; %s "
      "in all\n"
      "             scale and shift: as many bytes a set; %lld sets for %zu subnets x %zu domain(s), %s; %s "
      "in all\n",
      statistics(bank.smallest()).c_str(), statistics(bank.largest()).c_str(),
      quantity(static_cast<double>(own)).c_str(), static_cast<long long>(sets), bank.subnets().size(),
      domains, static_cast<std::size_t>(sets) < users ? "shared by resolutions and bits" : "their own",
      quantity(static_cast<double>(affine)).c_str());
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
  print_norms(network);
  std::printf("\nblocks x channels of each stage; parameters and multiply-adds at %d pixels\n%s",
              bank.resolutions.front(), architectures(network, config).c_str());
  std::vector<SubnetScore> ends;
  for (const Subnet& subnet : {bank.smallest(), bank.largest()})
    ends.push_back({subnet, network.cost(subnet)});
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
  if (deploy::is_packed_model(options.run)) return describe_packed(options.run, options.subnet);
  if (!options.subnet.empty()) throw UsageError("[info] --subnet goes with a packed file");
  const OpenedRun run = open_run(options.run);
  std::printf("checkpoint   %s, step %lld of %lld\n", run.checkpoint.c_str(),
              static_cast<long long>(run.bank.step), static_cast<long long>(run.bank.config.train.steps));
  std::printf("data         %s -> %s\n", run.bank.config.data.source.c_str(),
              run.bank.config.data.target.c_str());
  if (!run.bank.pretrained.empty())
    std::printf("started from %s\n", record_text(run.bank.pretrained).c_str());
  std::string classes;
  for (const std::string& name : run.bank.classes) classes += (classes.empty() ? "" : ", ") + name;
  std::printf("classes      %s\n", classes.c_str());
  print_network(*run.bank.network, run.bank.config);
  return done;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("info", "what a run, a checkpoint, a packed file or a preset consists of");
  command->add_option("run", options->run, "folder of a run, a checkpoint, or a packed file")
      ->type_name("RUN|FILE");
  command
      ->add_option(
          "--subnet", options->subnet,
          "of a packed file: the one whose layers are listed, width=0.9,bits=4; without it the first")
      ->type_name("SUBNET");
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
      "  rtfq info m2u.rtfq --subnet bits=4\n"
      "  rtfq info --preset office31 --classes 31 --set bank=anyda48");
  command->callback([&action, options] { action = [options] { return print_info(*options); }; });
}

}  // namespace rtfq::cli
