#pragma once
// What the subcommands of rtfq share. Each lives in a file cmd_NAME.cpp that parses its options and calls
// training/.

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "training/config.h"
#include "training/evaluation.h"
#include "training/run_folder.h"
#include "training/trainer.h"

namespace rtfq::cli {

/// Exit statuses that scripts can rely on.
enum Status { done = 0, failed = 1, bad_usage = 2, nothing_fits = 3, interrupted_and_saved = 75 };

/// The command line, or what it names, cannot be meant: exit status bad_usage.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs `read`, which only looks at what the user gave; its std::invalid_argument becomes a UsageError.
template <class Read>
auto as_usage(const Read& read) {
  try {
    return read();
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

/// A subcommand sets this to what it will do; its result is the exit status.
using Action = std::function<int()>;

void add_train(CLI::App&, Action&);
void add_config(CLI::App&, Action&);
void add_eval(CLI::App&, Action&);
void add_select(CLI::App&, Action&);
void add_predict(CLI::App&, Action&);
void add_measure(CLI::App&, Action&);
void add_calibrate(CLI::App&, Action&);
void add_quantize(CLI::App&, Action&);
void add_info(CLI::App&, Action&);
void add_experiment(CLI::App&, Action&);
void add_benchmark(CLI::App&, Action&);
void add_report(CLI::App&, Action&);
void add_import(CLI::App&, Action&);
void add_forward(CLI::App&, Action&);
void add_export(CLI::App&, Action&);
void add_pack(CLI::App&, Action&);
void add_infer(CLI::App&, Action&);
void add_switch(CLI::App&, Action&);

/// A configuration file, or a preset of that name where there is no such file, with --set settings applied.
Config load_config(const std::string& file_or_preset, const std::vector<std::string>& settings);

/// The trained bank of a run, its data location replaced by `target` unless that is empty. Notes on stderr
/// when training has not ended. Applies the configuration's thread count. The network is on `device`.
struct OpenedRun {
  RunPaths paths;
  std::string checkpoint;
  TrainedBank bank;
};
OpenedRun open_run(const std::string& run_or_checkpoint, const std::string& device = "cpu");
/// --device of a command that computes on a trained bank.
void add_device(CLI::App& command, std::string& device);

/// What an error says, also where it says nothing by itself.
std::string explain(const std::exception&);

/// A note for people on stderr: "rtfq: TEXT".
void note(const std::string& text);

/// How this process was called, so that a suggested command can be copied: "build/bin/rtfq".
inline std::string program = "rtfq";

/// A word of a command line as a shell would need it.
std::string shell_word(const std::string&);

}  // namespace rtfq::cli
