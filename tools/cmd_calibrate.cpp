#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/progress.h"
#include "training/network.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string device = "cpu";
  bool outside = false;  ///< data.outside_paths
  std::string run, data;
  int64_t images = 0;
};

int calibrate_run(const Options& options) {
  OpenedRun run = open_run(options.run, options.device);
  TrainedBank& bank = run.bank;
  // Unlabelled images: no class names are asked for.
  const data::Dataset target =
      data::without_labels(data::open_dataset(options.data, {}, {}, options.outside));
  const Domain domain = bank.config.model.domain_norms ? Domain::target : Domain::source;
  const int64_t images = options.images ? options.images : bank.config.train.calibration_images;
  CountProgress progress("calibrating subnets:");
  calibrate(*bank.network, bank.config, trained_subnets(bank.config), domain, target, images,
            std::ref(progress));
  save_bank(run.checkpoint, bank);
  note("the target's norm statistics of " + run.checkpoint + " are now those of " + options.data);
  if (std::filesystem::exists(run.paths.subnets()))
    note(run.paths.subnets() + " was measured before: `" + program + " eval " + shell_word(options.run) +
         " --all` measures anew");
  return done;
}

}  // namespace

void add_calibrate(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("calibrate", "fit every subnet's norm statistics to unlabelled images");
  command
      ->add_option("run", options->run, "folder of a run, or a checkpoint; its norm statistics are replaced")
      ->required()
      ->type_name("RUN");
  command
      ->add_option("--data", options->data,
                   "images of the new target: a folder or a list file; labels are not read")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--images", options->images,
                   "at most so many; without it the run's train.calibration_images")
      ->type_name("COUNT")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_flag("--outside-paths", options->outside,
                    "a list file may name images outside of the folder at which its paths start");
  command->footer(
      "No weight changes: a few hundred images and no gradients are enough to follow a drifting camera.\n"
      "\n"
      "Example:\n"
      "  rtfq calibrate runs/m2u --data new-images && rtfq eval runs/m2u --all --data new-images");
  add_device(*command, options->device);
  command->callback([&action, options] { action = [options] { return calibrate_run(*options); }; });
}

}  // namespace rtfq::cli
