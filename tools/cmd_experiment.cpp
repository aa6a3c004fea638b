#include <memory>

#include "tools/command.h"
#include "tools/experiment_session.h"

namespace rtfq::cli {
namespace {

struct Options : SessionOptions {
  std::string file;
};

int run_experiment(Options& options) {
  options.command = program + " experiment " + shell_word(options.file) + " --out " + shell_word(options.out);
  for (const std::string& root : options.roots) options.command += " --root " + shell_word(root);
  for (const std::string& setting : options.settings) options.command += " --set " + shell_word(setting);
  return run_session(as_usage([&] { return experiment::read_experiment(options.file); }), options);
}

}  // namespace

void add_experiment(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "experiment", "all runs of a file of training/experiments, and tables of their results");
  command->add_option("file", options->file, "the experiment (docs/experiments.md)")
      ->required()
      ->check(CLI::ExistingFile)
      ->type_name("FILE.jsonc");
  command->add_option("--out", options->out, "folder for runs, report.md, results.csv, tables and plots")
      ->required()
      ->type_name("DIR");
  command
      ->add_option(
          "--root", options->roots,
          "where the data are: what {root} stands for in the file; NAME=DIR for {NAME}; may be given again")
      ->type_name("DIR")
      ->allow_extra_args(false);
  add_session_options(command, *options);
  command->footer(
      "Stop it whenever you like: the same command goes on. Several processes may share DIR. Status 75: runs "
      "are left\n"
      "(interrupted, or the budget is used up); 1: a run failed, the others were done.\n"
      "\n"
      "Examples:\n"
      "  rtfq experiment training/experiments/digits.jsonc --out results/digits --root data/digits --budget "
      "2h\n"
      "  rtfq experiment training/experiments/digits.jsonc --out results/digits --root data/digits --plan\n"
      "  sbatch --array=1-40 --wrap 'rtfq experiment FILE --out DIR --root DATA --index "
      "$SLURM_ARRAY_TASK_ID'");
  command->callback([&action, options] { action = [options] { return run_experiment(*options); }; });
}

}  // namespace rtfq::cli
