#include <cstdio>
#include <filesystem>
#include <memory>

#include "kernels/runtime/device.h"
#include "tools/command.h"
#include "tools/packed_file.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "training/latency.h"
#include "training/network.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string device = "cpu";
  std::string run;
  LatencyOptions latency;
  int threads = 0;
};

/// The rows of an earlier evaluation, or rows that know the costs alone.
std::vector<SubnetScore> rows_of(const OpenedRun& run) {
  if (std::filesystem::exists(run.paths.subnets())) return read_scores(run.paths.subnets());
  std::vector<SubnetScore> rows;
  for (const Subnet& subnet : trained_subnets(run.bank.config))
    rows.push_back({subnet, run.bank.network->cost(subnet)});
  return rows;
}

/// The file's time says when accuracies were measured (`select` compares it with the checkpoint's): it stays.
void write_keeping_time(const std::string& path, const std::vector<SubnetScore>& rows) {
  namespace fs = std::filesystem;
  const bool existed = fs::exists(path);
  const fs::file_time_type time = existed ? fs::last_write_time(path) : fs::file_time_type();
  write_scores(path, rows);
  if (existed) fs::last_write_time(path, time);
}

int measure(const Options& options) {
  if (deploy::is_packed_model(options.run))
    return measure_packed(options.run, options.latency, options.threads);
  OpenedRun run = open_run(options.run, options.device);
  if (options.threads > 0) kernels::runtime::set_threads(options.threads);
  std::vector<SubnetScore> rows = rows_of(run);
  std::vector<Subnet> subnets;
  for (const SubnetScore& row : rows) subnets.push_back(row.subnet);
  CountProgress progress("measuring subnets:");
  const auto latencies =
      measure_latency(*run.bank.network, run.bank.config, subnets, options.latency, std::ref(progress));
  std::vector<std::vector<std::string>> table_rows{{"subnet", "MACs", "ms", "between quartiles", "images/s"}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].latency = latencies[i];
    char median[32], spread[32];
    std::snprintf(median, sizeof median, "%.3f", latencies[i].milliseconds);
    std::snprintf(spread, sizeof spread, "%.3f", latencies[i].spread);
    table_rows.push_back({id(rows[i].subnet), quantity(static_cast<double>(rows[i].cost.macs)), median,
                          spread, quantity(1e3 * latencies[i].batch / latencies[i].milliseconds)});
  }
  std::fputs(table(table_rows).c_str(), stdout);
  const Latency& how = latencies.front();
  std::printf("median of forward passes of %d image(s), %d thread(s), %s\n", how.batch, how.threads,
              how.machine.c_str());
  write_keeping_time(run.paths.subnets(), rows);
  note("the engine computes on dequantized values: fewer bits do not make it faster; wrote " +
       run.paths.subnets());
  return done;
}

}  // namespace

void add_measure(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("measure", "time every subnet on this machine, into RUN/subnets.json");
  command->add_option("run", options->run, "folder of a run, a checkpoint, or a packed file")
      ->required()
      ->type_name("RUN|FILE");
  command->add_option("--batch", options->latency.batch, "images of a forward pass; without it 1")
      ->type_name("IMAGES")
      ->check(CLI::Range(1, 65536));
  command->add_option("--threads", options->threads, "that compute; without it the run's `threads`")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1024));
  command->add_option("--images", options->latency.images, "timed for every subnet; without it 20")
      ->type_name("COUNT")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->footer(
      "Times run from a normalized image in memory to logits. Subnets take turns, so that a machine that "
      "warms up or\n"
      "slows down favours none; weights are prepared before the clock starts.\n"
      "\n"
      "Of a packed file (`rtfq pack`) the table is printed and nothing is written; its subnets compute on "
      "integers.\n"
      "\n"
      "Example:\n"
      "  rtfq measure runs/m2u --threads 1 && rtfq select runs/m2u --latency-ms 2");
  add_device(*command, options->device);
  command->callback([&action, options] { action = [options] { return measure(*options); }; });
}

}  // namespace rtfq::cli
