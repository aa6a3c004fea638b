#include <algorithm>
#include <filesystem>
#include <memory>

#include "engine/safetensors.h"
#include "models/packed/pack.h"
#include "tools/command.h"
#include "tools/packed_file.h"
#include "tools/table.h"
#include "training/environment.h"
#include "training/network.h"
#include "training/prepared_images.h"
#include "training/selection.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, out;
  std::vector<std::string> subnets;
  bool bank = false;
};

/// What `rtfq eval --all` found, where it did.
std::vector<SubnetScore> known_scores(const RunPaths& paths) {
  if (std::filesystem::exists(paths.subnets())) return read_scores(paths.subnets());
  note("without scores: `" + program + " eval " + shell_word(paths.folder) +
       " --all` measures them, and `select` needs them");
  return {};
}

int pack_run(const Options& options) {
  if (options.bank == !options.subnets.empty())
    throw UsageError("[pack] give --bank, or one or more --subnet");
  OpenedRun run = open_run(options.run);
  const Config& config = run.bank.config;
  std::vector<Subnet> subnets;
  if (options.bank)
    for (const Subnet& subnet : trained_subnets(config)) subnets.push_back(subnet);
  for (const std::string& text : options.subnets)
    subnets.push_back(as_usage([&] { return parse_subnet(text, config.model.bank); }));

  const std::vector<SubnetScore> scores = known_scores(run.paths);
  std::vector<packed::SubnetEntry> entries;
  for (const Subnet& subnet : subnets) {
    packed::SubnetEntry entry{subnet, run.bank.network->cost(subnet), {}};
    for (const SubnetScore& score : scores)
      if (score.subnet == subnet)
        for (const Criterion& by : criteria())
          if (const auto value = by.of(score)) entry.scores[by.name] = *value;
    entries.push_back(std::move(entry));
  }
  const auto file =
      packed::pack(*run.bank.network, inference_domain(config), entries, pack_info(run, entries));
  write_file_atomically(options.out, {reinterpret_cast<const char*>(file.data()), file.size()});
  note(std::to_string(entries.size()) + (entries.size() == 1 ? " subnet is in " : " subnets are in ") +
       options.out + ", " + quantity(static_cast<double>(file.size())) + "B");
  return done;
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("pack", "subnets of a run as one small file that runs on integers, for a device");
  command->add_option("run", options->run, "folder of a run, or a checkpoint")->required()->type_name("RUN");
  command
      ->add_option(
          "--subnet", options->subnets,
          "width=0.9,depth=1,resolution=160,bits=4; what is left out is the largest; may be repeated")
      ->type_name("SUBNET")
      ->allow_extra_args(false);
  command->add_flag("--bank", options->bank, "all subnets, each bit-width's weights stored once");
  command->add_option("-o,--out", options->out, "file to write")->required()->type_name("FILE");
  command->footer(
      "The file holds all that running needs: codes at their true width, norms, classes, what is done to "
      "images, "
      "and\n"
      "costs and scores after `rtfq eval RUN --all` (docs/format.md, docs/deploy.md).\n"
      "\n"
      "Examples:\n"
      "  rtfq pack runs/m2u --subnet bits=4 -o m2u-4bit.rtfq\n"
      "  rtfq pack runs/m2u --bank -o m2u.rtfq && rtfq infer m2u.rtfq photos --macs 5M");
  command->callback([&action, options] { action = [options] { return pack_run(*options); }; });
}

}  // namespace rtfq::cli
