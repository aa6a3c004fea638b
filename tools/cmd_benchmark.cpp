#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "engine/safetensors.h"
#include "tools/command.h"
#include "tools/experiment_session.h"
#include "training/benchmark.h"

namespace rtfq::cli {
namespace fs = std::filesystem;
namespace {

struct Options : SessionOptions {
  std::string name, root;
  benchmark::Wanted wanted;
};

void say_all(const std::vector<std::string>& notes) {
  for (const std::string& text : notes) note(text);
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

std::string command_of(const Options& o) {
  std::string command =
      program + " benchmark " + o.name + " --root " + shell_word(o.root) + " --out " + shell_word(o.out);
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) command += std::string(" ") + name + " " + shell_word(value);
  };
  add("--tasks", joined(o.wanted.tasks));
  add("--methods", joined(o.wanted.methods));
  add("--arch", o.wanted.arch);
  add("--checkpoint", o.wanted.checkpoint);
  if (o.wanted.seeds != 1) add("--seeds", std::to_string(o.wanted.seeds));
  if (o.wanted.steps != 0) add("--steps", std::to_string(o.wanted.steps));
  for (const std::string& setting : o.settings) add("--set", setting);
  return command;
}

/// The experiment's text from the data, or, where nothing is said of these, what an earlier call wrote.
std::string text_of(Options& o, const std::string& stored) {
  const benchmark::Protocol& protocol = benchmark::protocol(o.name);
  o.name = protocol.name;
  if (o.root.empty()) {
    std::ifstream in(stored, std::ios::binary);
    std::stringstream text;
    if (!in || !(text << in.rdbuf()))
      throw std::invalid_argument("[benchmark] --root is required: the folder that holds the domains of " +
                                  protocol.title);
    if (!o.collect) throw std::invalid_argument("[benchmark] --root is required, except with --collect");
    return text.str();
  }
  if (!o.wanted.checkpoint.empty()) {
    if (!fs::is_regular_file(o.wanted.checkpoint))
      throw std::invalid_argument("[benchmark] --checkpoint expects a file, got " + o.wanted.checkpoint +
                                  ", which does not exist");
    o.wanted.checkpoint = fs::absolute(o.wanted.checkpoint).lexically_normal().string();
  }
  o.wanted.settings = o.settings;
  std::vector<std::string> codes;
  for (const std::string& task : o.wanted.tasks.empty() ? protocol.tasks : o.wanted.tasks) {
    const auto [from, to] = benchmark::domains_of(protocol, task);
    codes.insert(codes.end(), {from, to});
  }
  const benchmark::Located located = benchmark::locate(protocol, o.root, codes);
  say_all(located.notes);
  if (o.wanted.checkpoint.empty() && !protocol.pretrained.empty())
    note(
        "no --checkpoint: banks start from random weights, with a recipe for those; published numbers start "
        "from ImageNet weights");
  std::vector<std::string> notes;
  std::string text = benchmark::experiment_text(protocol, located, o.wanted, notes);
  say_all(notes);
  return text;
}

int run_benchmark(Options& o) {
  const std::string stored = o.out + "/benchmark.jsonc";
  const std::string text = as_usage([&] { return text_of(o, stored); });
  const experiment::Experiment experiment =
      as_usage([&] { return experiment::parse_experiment(text, stored); });
  o.roots = {"root=" + (o.root.empty() ? std::string("ROOT") : o.root)};
  o.command = command_of(o);
  if (!o.plan && !o.list && !o.collect) {
    fs::create_directories(o.out);
    write_file_atomically(stored, text);
  }
  return run_session(experiment, o);
}

}  // namespace

void add_benchmark(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "benchmark", "a benchmark of the field: all its tasks, and the table beside published numbers");
  command->add_option("name", options->name, "office31, office-home, domainnet, visda, pacs or digits")
      ->required()
      ->type_name("NAME");
  command
      ->add_option("--root", options->root,
                   "the folder that holds the domains, as the data set's archive or TLlib or DomainBed lays "
                   "them out")
      ->type_name("DIR");
  command->add_option("--out", options->out, "folder for runs, report.md, results.csv, tables and plots")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--tasks", options->wanted.tasks, "these alone: A2W,W2A; without it the benchmark's own")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("TASKS");
  command
      ->add_option(
          "--methods", options->wanted.methods,
          "rtfq, rtff, ptq, bits8, bits6, bits4, sandwich, uniform, source-only, mcc; without it the "
          "benchmark's own")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("METHODS");
  command->add_option("--seeds", options->wanted.seeds, "runs of each task and method")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  command
      ->add_option("-a,--arch", options->wanted.arch, "resnet18 to resnet152; without it the benchmark's own")
      ->type_name("ARCH");
  command
      ->add_option("--checkpoint", options->wanted.checkpoint,
                   "pretrained weights that every bank starts from; without it random weights, with a recipe "
                   "for those")
      ->type_name("FILE");
  command
      ->add_option("--steps", options->wanted.steps,
                   "of a run, its phases in proportion; without it as many as the recipe's epochs take")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  add_session_options(command, *options);
  command->footer(
      "Says what is missing or surplus in the data; a task that lacks a domain is left out. Stop it whenever "
      "you like:\n"
      "the same command goes on, and several processes may share --out (see rtfq experiment --help for job "
      "arrays).\n"
      "\n"
      "Examples:\n"
      "  rtfq benchmark office-home --root OfficeHome --checkpoint resnet50.pth --out results/home --plan\n"
      "  rtfq benchmark office-home --root OfficeHome --checkpoint resnet50.pth --out results/home\n"
      "  rtfq benchmark pacs --root pacs160 --out results/pacs --tasks P2A,A2P --seeds 3");
  command->callback([&action, options] { action = [options] { return run_benchmark(*options); }; });
}

}  // namespace rtfq::cli
