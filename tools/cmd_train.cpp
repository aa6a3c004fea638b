#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>

#include "engine/memory.h"
#include "engine/ops/used.h"
#include "models/checkpoint/pretrained.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/kernels_option.h"
#include "tools/plan_text.h"
#include "tools/progress.h"
#include "training/benchmark.h"
#include "training/network.h"
#include "training/plan.h"
#include "training/run_record.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string config, out;
  std::string benchmark, source, target, root;  // instead of a configuration
  benchmark::Wanted wanted;
  std::vector<std::string> settings, kernels;
  bool resume = false, plan = false;
  int64_t print_every = 0;
};

/// Thrown out of the calibration by Ctrl-C; the checkpoint of the last step is already written.
struct Interrupted {};

std::string resume_command(const Options& options) {
  std::string command =
      program + " train " + shell_word(options.config) + " --out " + shell_word(options.out);
  for (const std::string& setting : options.settings) command += " --set " + shell_word(setting);
  for (const std::string& kernel : options.kernels) command += " --kernel " + shell_word(kernel);
  return command + " --resume";
}

/// Goes on from the checkpoint, or starts. A resumed run finds its data where they were unless told
/// otherwise.
std::unique_ptr<Trainer> open_trainer(const RunFolder& folder, Config config) {
  if (!folder.has_checkpoint()) {
    auto trainer = as_usage([&] { return std::make_unique<Trainer>(config); });
    folder.write_config(config);  // not before the data were found: the folder stays free for another try
    return trainer;
  }
  if (std::filesystem::exists(folder.paths().config())) {
    const Config started = as_usage([&] { return read_config(folder.paths().config()); });
    as_usage([&] { require_same_run(started, config); });
    if (config.data.source.empty()) config.data.source = started.data.source;
    if (config.data.target.empty()) config.data.target = started.data.target;
  }
  auto trainer = as_usage([&] { return Trainer::resume(folder.paths().checkpoint(), &config); });
  as_usage([&] { require_same_run(trainer->config(), config); });
  folder.write_config(config);
  return trainer;
}

void say_what_runs(const Trainer& trainer, const std::string& out) {
  const Config& config = trainer.config();
  const TrainConfig& train = config.train;
  std::string text = config.model.arch;
  if (train.method == "source_only")
    text += ", the largest network in full precision on the source only";
  else
    text += ", " + std::to_string(config.model.bank.subnets().size()) +
            " subnets; steps: " + std::to_string(train.float_steps) + " in full precision on the source, " +
            std::to_string(train.source_steps) + " quantized on the source, " +
            std::to_string(train.steps - train.float_steps - train.source_steps) + " adapting";
  note("training " + text + "; seed " + std::to_string(train.seed) + "; writing to " + out);
  if (config.precision != "f32" || config.device != "cpu") note("device: " + device_in_use(config));
  for (std::istringstream lines(trainer.start_report()); std::getline(lines, text);) note(text);
  if (trainer.step())
    note("going on after step " + std::to_string(trainer.step()) + " of " + std::to_string(train.steps));
}

void save(const Trainer& trainer, RunRecord& record, const RunPaths& paths) {
  record.sync();
  trainer.save(paths.checkpoint());
}

int stop(const Options& options, RunRecord& record, const Trainer& trainer, const std::string& where) {
  record.end("interrupted", trainer.step());
  note("interrupted " + where + "; saved. Go on with:\n  " + resume_command(options));
  return interrupted_and_saved;
}

int show_plan(const Config& config) {
  if (!config.checkpoint.empty())
    as_usage([&] { return checkpoint::read_pretrained(config.checkpoint, {config.model.arch, ""}); });
  const TrainingPlan plan = as_usage(
      [&] { return plan_training(config, {}, [](const std::string& what) { note("measuring: " + what); }); });
  std::fputs(plan_text(plan, config).c_str(), stdout);
  return done;
}

/// A task of a benchmark as the preset and settings it stands for. Says them; stdout has the configuration.
void expand(Options& options) {
  as_usage([&] {
    if (!options.config.empty())
      throw std::invalid_argument("[train] give a configuration, got " + options.config +
                                  ", or --dataset, not both");
    for (const auto& [name, value] :
         {std::pair{"--source", options.source}, {"--target", options.target}, {"--root", options.root}})
      if (value.empty())
        throw std::invalid_argument("[train] --dataset " + options.benchmark + " needs " + name +
                                    ": `rtfq train --help` has an example");
    const benchmark::Protocol& protocol = benchmark::protocol(options.benchmark);
    const std::string from = protocol.domain(options.source).code, to = protocol.domain(options.target).code;
    const benchmark::Located located = benchmark::locate(protocol, options.root, {from, to});
    for (const std::string& text : located.notes) note(text);
    for (const std::string& code : {from, to})
      if (located.places.count(code) == 0)
        throw std::invalid_argument("[train] the domain " + code + " of " + protocol.title +
                                    " is missing in " + options.root);
    options.wanted.settings = options.settings;
    const benchmark::Configured configured =
        benchmark::configure(protocol, located, options.root, from + "2" + to, options.wanted);
    options.config = configured.base;
    options.settings.insert(options.settings.begin(), configured.settings.begin(), configured.settings.end());
    std::string command = program + " train " + options.config;
    for (const std::string& setting : options.settings) command += " --set " + shell_word(setting);
    note("this stands for:\n  " + command);
    std::fputs(commented(load_config(options.config, options.settings)).c_str(), stdout);
    return true;
  });
}

int train(Options& options) {
  if (!options.benchmark.empty()) expand(options);
  if (options.config.empty())
    throw UsageError(
        "[train] name a configuration, or a benchmark's task with --dataset, --source, --target "
        "and --root");
  const Config config = load_config(options.config, options.settings);
  use_kernels(options.kernels);
  if (options.plan) return show_plan(config);
  if (options.out.empty()) throw UsageError("[train] --out is required; `rtfq train --help` explains");
  const auto folder = as_usage([&] { return std::make_unique<RunFolder>(options.out, options.resume); });
  const RunPaths& paths = folder->paths();
  const auto trainer = open_trainer(*folder, config);
  RunRecord record(paths, config, *trainer);
  if (record.last_step() != trainer->step())
    note(paths.log() + " lacks steps before " + std::to_string(trainer->step()) +
         "; training goes on without them");
  const std::string total = std::to_string(config.train.steps);
  say_what_runs(*trainer, options.out);

  catch_interrupts();
  TrainingProgress progress(config, options.print_every);
  int64_t saved = trainer->step();
  double seconds = 0, waited = 0;  // of the steps, without the first, which has nothing to prepare ahead of
  try {
    while (!trainer->finished()) {
      const StepReport report = trainer->train_step();
      record.add(report, *trainer);
      if (seconds > 0) waited += report.wait_seconds;
      seconds += report.seconds;
      progress.show(report);
      if (report.step % config.train.checkpoint_every == 0 || trainer->finished() || interrupted()) {
        save(*trainer, record, paths);
        saved = report.step;
      }
      if (interrupted() && !trainer->finished()) {
        progress.leave();
        return stop(options, record, *trainer, "after step " + std::to_string(report.step) + " of " + total);
      }
    }
  } catch (const NonFiniteLoss& error) {
    progress.leave();
    record.end("failed", trainer->step());
    note(error.what());
    note(saved ? "the last checkpoint, of step " + std::to_string(saved) + ", is in " + options.out
               : "nothing was saved yet");
    return failed;
  }

  try {
    CountProgress calibrated("calibrating norms:");
    trainer->calibrate([&](int64_t done, int64_t count) {
      if (interrupted()) throw Interrupted();
      calibrated(done, count);
    });
  } catch (const Interrupted&) {
    return stop(options, record, *trainer, "while calibrating, all " + total + " steps done");
  }
  save(*trainer, record, paths);
  record.end("finished", trainer->step());
  if (!record.report_problem().empty()) note("no report was written: " + record.report_problem());
  const std::size_t mib = memory::statistics(device_of(config)).peak >> 20;
  char share[64];
  std::snprintf(share, sizeof share, "%.2f %%", seconds > 0 ? 100 * waited / seconds : 0.0);
  note(std::string("waiting for images took ") + share + " of the steps' time");
  note("peak memory of tensors: " + std::to_string(mib) + " MiB on " + config.device);
  std::string kernels;
  for (const std::string& used : ops::used_implementations(device_of(config).backend))
    kernels += (kernels.empty() ? "" : ", ") + used;
  note("kernels: " + kernels);
  const std::string run = shell_word(options.out);
  note("done. See how good and how expensive every subnet is, then all of it as one page:\n  " + program +
       " eval " + run + " --all\n  " + program + " report " + run);
  return done;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "train a bank of subnets");
  command
      ->add_option("config", options->config,
                   "configuration file, or the name of a preset (`rtfq config --list`)")
      ->type_name("CONFIG.jsonc");
  command
      ->add_option(
          "--out", options->out,
          "folder for this run: checkpoint.safetensors, config.jsonc, logs, and report.html to watch it")
      ->type_name("RUN");
  command
      ->add_option(
          "-d,--dataset", options->benchmark,
          "instead of CONFIG, a task of office31, office-home, domainnet, visda, pacs or digits, with "
          "its recipe; prints the configuration that it stands for")
      ->type_name("NAME");
  command->add_option("-s,--source", options->source, "of --dataset: a domain, by code (A) or name (amazon)")
      ->type_name("DOMAIN");
  command->add_option("-t,--target", options->target, "of --dataset")->type_name("DOMAIN");
  command->add_option("--root", options->root, "of --dataset: the folder that holds its domains")
      ->type_name("DIR");
  command->add_option("-a,--arch", options->wanted.arch, "of --dataset: resnet18 to resnet152")
      ->type_name("ARCH");
  command
      ->add_option("--checkpoint", options->wanted.checkpoint,
                   "of --dataset: pretrained weights; without it random ones, with a recipe for those")
      ->type_name("FILE");
  command->add_option("--set", options->settings, "changes a key of the configuration; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag(
      "--plan", options->plan,
      "train nothing: check the data, then print steps, images, memory and time, from measured steps; "
      "needs no --out");
  command
      ->add_option(
          "--kernel", options->kernels,
          "computes an operator by a plug-in (docs/lab.md); may be given again, must be with --resume too")
      ->type_name("OPERATOR=FILE")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "go on with the run in RUN; starts when there is none");
  command->add_option("--print-every", options->print_every, "steps between lines when stderr is no terminal")
      ->type_name("STEPS")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->footer(
      "Ctrl-C finishes the step, saves and exits with status 75; a second one stops at once.\n"
      "\n"
      "Examples:\n"
      "  rtfq train mnist-usps --plan --set data.source=digits/mnist --set data.target=digits/usps\n"
      "  rtfq train training/configs/mnist-usps.jsonc --out runs/m2u \\\n"
      "      --set data.source=digits/mnist --set data.target=digits/usps --set train.seed=2\n"
      "  rtfq train -d office31 -s A -t W -a resnet50 --checkpoint resnet50.pth --root Office31 --out "
      "runs/a2w\n"
      "  rtfq train glyphs --out runs/mine --kernel fakequant.forward=./my.so");
  command->callback([&action, options] { action = [options] { return train(*options); }; });
}

}  // namespace rtfq::cli
