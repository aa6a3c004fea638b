#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "engine/atomic_file.h"
#include "kernels/runtime/device.h"
#include "tools/bench/command.h"
#include "tools/bench/profile.h"
#include "tools/bench/results.h"
#include "tools/bench/suites.h"
#include "training/environment.h"

namespace rtfq::lab {
namespace {

struct Options {
  Selection selection;
  Settings settings;
  std::string json_file, csv_file, noise = "2%", markdown_file;
  bool profile = false, no_counters = false, seconds_given = false, verify_small = false;
};

/// The devices of a run, whose roofs must be one.
kernels::Device roofed_device(const std::vector<std::string>& devices) {
  kernels::Device found;
  bool other = false;
  for (const std::string& text : devices) {
    const auto device = cli::as_usage([&] { return kernels::parse_device(text); });
    if (device.backend == kernels::Backend::cuda && !kernels::built_with_cuda)
      throw cli::UsageError(
          "[run] this build has no CUDA backend (cmake -DRTFQ_CUDA=ON): --device cpu or simt");
    if (device.backend == kernels::Backend::simt) continue;
    if (other && device != found)
      throw cli::UsageError("[run] devices have roofs of their own: measure one a run");
    found = device;
    other = true;
  }
  return found;
}

bool bad(const Row& row) {
  return row.outcome == Outcome::wrong || row.outcome == Outcome::crashed || row.outcome == Outcome::hung ||
         row.outcome == Outcome::failed;
}

/// What plug-ins print, on stderr; of one that prints at every launch not all of it.
class Printed {
 public:
  void operator()(std::string_view text) {
    constexpr std::size_t most = 1 << 16;
    if (bytes_ >= most) return;
    bytes_ += text.size();
    std::fprintf(stderr, "%.*s", static_cast<int>(text.size()), text.data());
    if (bytes_ >= most) std::fprintf(stderr, "\nrtfq-bench: more output of plug-ins is left out\n");
  }

 private:
  std::size_t bytes_ = 0;
};

/// One line that tells how far a run is: written over on a terminal; elsewhere a line now and then, and one
/// for each row that is not right.
class Progress {
 public:
  Progress(std::size_t items) : items_(items) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void clear() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
  }
  void row(const Row& row) {
    ++done_;
    const std::string text = "rtfq-bench: " + std::to_string(done_) + " of " + std::to_string(items_) + ": " +
                             row.item.name() + ": " + to_string(row.outcome) +
                             (row.seconds.empty() ? "" : ", " + time_text(row.median()));
    if (terminal_) {
      // A line that wraps cannot be written over.
      std::fprintf(stderr, "\r\033[K%.*s", 100, text.c_str());
      shown_ = true;
      if (bad(row)) std::fputs("\n", stderr), shown_ = false;
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!bad(row) && now - said_ < std::chrono::seconds(5)) return;
    said_ = now;
    std::fprintf(stderr, "%s\n", text.c_str());
  }

 private:
  std::size_t items_, done_ = 0;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1, shown_ = false;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

/// Why rows are not exact, each reason once.
void explain(const std::vector<Row>& rows) {
  std::vector<std::string> said;
  for (const Row& row : rows) {
    if (row.message.empty()) continue;
    const std::string who = row.item.implementation + " of " + row.item.op;
    std::string text =
        who + (row.item.device == "cpu" ? "" : " on " + row.item.device) + ": " + to_string(row.outcome);
    if (row.outcome == Outcome::near_tie)
      text += ": " + std::to_string(row.near_ties) + " of " + std::to_string(row.compared) +
              " elements are what another order of roundings gives: the neighbouring code of a value next to "
              "a tie or border, or a fused norm's value (declared rounding: " +
              row.rounding + "); the first: " + row.message;
    else
      text += ": " + row.message;
    if (!row.repeat.empty()) text += "\n  repeat: " + row.repeat;
    if (std::find(said.begin(), said.end(), text) != said.end()) continue;
    said.push_back(text);
    note(text);
  }
}

int run(Options& options, const std::string& command) {
  const kernels::Device device = roofed_device(options.selection.devices);
  if (options.settings.threads) kernels::runtime::set_threads(options.settings.threads);
  // Workers learn it from the environment, before their OpenMP wakes up.
  if (options.settings.threads)
    ::setenv("OMP_NUM_THREADS", std::to_string(options.settings.threads).c_str(), 1);
  options.settings.noise = parse_share(options.noise, "--noise");
  options.settings.counters = !options.no_counters;
  // A suite of a minute cannot give every row of a noisy machine four seconds.
  if (options.selection.suite == "quick" && !options.seconds_given) options.settings.seconds = 1;
  if (options.verify_small)
    options.settings.verify_images = small_images, options.settings.verify_elements = small_elements;
  else if (options.selection.suite == "memory")  // as long as this machine's caches make them
    options.settings.verify_images = memory_images, options.settings.verify_elements = memory_elements;
  const auto known = cli::as_usage([&] { return offers(plugin_files(options.selection)); });
  const auto items = cli::as_usage([&] { return items_of(options.selection, known); });
  if (options.profile) return profile(items, files_of(known));
  Results results{environment(options.settings.threads), command, {}, options.settings, {}};
  if (!options.settings.verify_only) results.machine = this_machine(false, device);
  Progress progress(items.size());
  Printed printed;
  // Kept on the way too, so that a run which is ended loses little.
  auto kept = std::chrono::steady_clock::now();
  results.rows = measure(
      items, known, options.settings,
      [&](const Row& row) {
        progress.row(row);
        results.rows.push_back(row);
        const auto now = std::chrono::steady_clock::now();
        if (options.json_file.empty() || now - kept < std::chrono::seconds(10)) return;
        write_results(results, options.json_file);
        kept = now;
      },
      [&](std::string_view text) {
        progress.clear();
        printed(text);
      });
  progress.clear();
  if (!options.json_file.empty()) write_results(results, options.json_file);
  if (!options.csv_file.empty()) write_file_atomically(options.csv_file, results_csv(results));
  std::fputs(results_table(results.rows, results.machine).c_str(), stdout);
  std::fputs(results_footer(results.rows, results.machine).c_str(), stdout);
  std::fflush(stdout);
  explain(results.rows);
  if (std::any_of(results.rows.begin(), results.rows.end(), bad)) return cli::failed;
  if (std::none_of(results.rows.begin(), results.rows.end(),
                   [](const Row& row) { return usable(row.outcome); })) {
    note("nothing ran: every implementation refused");
    return cli::bad_usage;
  }
  return cli::done;
}

}  // namespace

void add_run(CLI::App& app, cli::Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "verify kernels, then time them");
  Selection& s = options->selection;
  command->add_option("--op", s.ops, "operators: names or patterns such as 'fakequant.*' (default: all)")
      ->delimiter(',');
  command
      ->add_option("--impl", s.implementations,
                   "all, ours, names, plugin:FILE or plugin:FILE:NAME (default: all)")
      ->delimiter(',');
  command->add_option("--device", s.devices, "cpu, simt, cuda or cuda:N (default: cpu)")->delimiter(',');
  add_shape_options(*command, s);
  command
      ->add_option("--suite", s.suite,
                   "rtfq: every shape of ResNet-18 and -50 at the 48 subnets; quick: a minute; memory: what "
                   "waits for it; paper; gpu: what tools/gpu_check measures")
      ->check(CLI::IsMember(suites()));
  add_setting_options(*command, options->settings);
  command->add_option("--samples", options->settings.samples, "samples of each row, at least")
      ->check(CLI::Range(1, 100000));
  command->add_option("--sample-seconds", options->settings.sample_seconds, "length of a sample")
      ->check(CLI::PositiveNumber);
  command->add_option("--noise", options->noise,
                      "half width of the median's 99 % interval that is enough (default 2%)");
  command
      ->add_option("--seconds", options->settings.seconds,
                   "that a row may take to reach it (default 4; of --suite quick 1)")
      ->check(CLI::PositiveNumber);
  command->add_flag("--cold", options->settings.cold, "evict the caches before every launch");
  command->add_flag("--warm", options->settings.warm,
                    "on GPUs: leave the level-two cache as the last launch left it");
  command->add_flag("--verify-only", options->settings.verify_only, "no timing");
  command->add_flag("--verify-small", options->verify_small,
                    "verify shapes of one's own with 2 images or 2^20 elements, time them in full");
  command->add_flag("--no-counters", options->no_counters, "leave the processor's event counters alone");
  command->add_flag(
      "--profile", options->profile,
      "one launch of one item in this process, stopped before and after it for a profiler (docs/lab.md)");
  command->add_option("--json", options->json_file, "results, readable by Google Benchmark's compare.py too")
      ->type_name("FILE");
  command->add_option("--csv", options->csv_file, "results as a table")->type_name("FILE");
  command->footer(
      "A kernel is verified before it is timed; a wrong one gets no time but its first differing element.\n\n"
      "Examples:\n"
      "  rtfq-bench run --op fakequant.forward --impl all --bits 4,8 --shape resnet50@224xb32\n"
      "  rtfq-bench run --op fakequant.forward --impl ours,plugin:./my.so --shape count=6422528\n"
      "  rtfq-bench run --suite quick --json today.json --csv today.csv");
  command->callback([&action, options, &app] {
    std::string line = "rtfq-bench run";
    options->seconds_given = app.get_subcommand("run")->count("--seconds") > 0;
    for (const CLI::Option* option : app.get_subcommand("run")->get_options())
      if (option->count() && !option->get_lnames().empty()) {
        const std::string name = " --" + option->get_lnames().front();
        if (option->get_items_expected_max() == 0)
          line += name;
        else
          for (const std::string& value : option->results()) line += name + " " + cli::shell_word(value);
      }
    action = [options, line] { return run(*options, line); };
  });
}

}  // namespace rtfq::lab
