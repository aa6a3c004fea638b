#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/progress.h"
#include "training/quantize.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, out;
  std::vector<std::string> settings;
};

int quantize_run(const Options& options) {
  const OpenedRun run = open_run(options.run);
  const Config config = as_usage([&] { return quantized_config(run.bank.config, options.settings); });
  if (std::filesystem::exists(RunPaths{options.out}.checkpoint()))
    throw UsageError("[quantize] " + options.out + " already holds a run: choose another --out");
  const auto folder = as_usage([&] { return std::make_unique<RunFolder>(options.out, false); });
  CountProgress progress("calibrating norms:");
  const TrainedBank bank = as_usage([&] { return quantize(run.bank, config, std::ref(progress)); });
  save_network(folder->paths().checkpoint(), bank);
  folder->write_config(config);
  note("quantized without training; see how good every subnet is:\n  " + program + " eval " +
       shell_word(options.out) + " --all");
  return done;
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "quantize", "post-training quantization of a bank that was trained at full precision");
  command->add_option("run", options->run, "run with bank.bits=[32]")->required()->type_name("RUN");
  command->add_option("--out", options->out, "folder for the quantized bank")->required()->type_name("RUN2");
  command
      ->add_option("--set", options->settings,
                   "bank.bits (8, 6 and 4 without it), model.step_init (mse without it: least squared error) "
                   "and other "
                   "keys of the quantizers; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->footer(
      "Step sizes come from the weights and a batch of unlabelled target images, norm statistics from "
      "calibration.\n"
      "\n"
      "Example:\n"
      "  rtfq train mnist-usps --out runs/rtff --set bank.bits=[32] ... && rtfq quantize runs/rtff --out "
      "runs/ptq");
  command->callback([&action, options] { action = [options] { return quantize_run(*options); }; });
}

}  // namespace rtfq::cli
