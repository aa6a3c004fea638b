#include <cstdio>
#include <memory>

#include "models/checkpoint/pretrained.h"
#include "tools/command.h"
#include "tools/kernels_option.h"
#include "tools/plan_text.h"
#include "tools/train_session.h"
#include "training/benchmark.h"
#include "training/plan.h"

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

std::string resume_command(const Options& options) {
  std::string command =
      program + " train " + shell_word(options.config) + " --out " + shell_word(options.out);
  for (const std::string& setting : options.settings) command += " --set " + shell_word(setting);
  for (const std::string& kernel : options.kernels) command += " --kernel " + shell_word(kernel);
  return command + " --resume";
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
  const int status =
      run_session({config, options.out, options.resume, resume_command(options), options.print_every});
  note_use_of_kernels(options.kernels);
  return status;
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
      "Ctrl-C, SIGTERM and SIGUSR1 finish the step, or leave it where it takes long, save and exit with "
      "status 75; a\n"
      "second Ctrl-C stops at once.\n"
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
