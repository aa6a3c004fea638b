#include <cstdio>

#include "kernels/runtime/device.h"
#include "tools/bench/command.h"
#include "tools/bench/machine.h"

namespace rtfq::lab {
namespace {

int machine(bool refresh, int threads, const std::string& device_text) {
  if (threads) kernels::runtime::set_threads(threads);
  const auto device = cli::as_usage([&] { return kernels::parse_device(device_text); });
  if (device.backend == kernels::Backend::simt)
    throw cli::UsageError("[machine] the executor has no roofline: --device cpu or cuda");
  const bool gpu = device.backend == kernels::Backend::cuda;
  const Machine m = this_machine(refresh, device);
  if (gpu)
    std::printf("%s, measured %s\n", m.cpu.c_str(), m.date.c_str());
  else
    std::printf("%s, %d threads, measured %s\n", m.cpu.c_str(), m.threads, m.date.c_str());
  std::printf("%s\n", m.memory_text().c_str());
  const auto peak = [&](const char* name, double value) {
    if (value > 0)
      std::printf("%-10s %.0f Gop/s%s\n", name, value / 1e9, gpu ? (" by " + m.by).c_str() : "");
    else
      std::printf("%-10s none: %s has no fast matrix product of this type here\n", name, m.by.c_str());
  };
  peak("f32", m.f32);
  peak("bf16", m.bf16);
  peak("int8", m.int8);
  std::printf("kept in %s\n", machine_file(m.threads, device).c_str());
  return cli::done;
}

}  // namespace

void add_machine(CLI::App& app, cli::Action& action) {
  struct Options {
    bool refresh = false;
    int threads = 0;
    std::string device = "cpu";
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("machine", "what this machine can do at best: the roofline");
  command->add_flag("--refresh", options->refresh, "measure anew, even where a measurement is kept");
  command->add_option("--threads", options->threads, "OpenMP threads (default: as many as there are)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--device", options->device, "cpu, cuda or cuda:N (default: cpu)");
  command->footer(
      "Measure it while nothing else runs; every row's percentage is of these.\n\nExample:\n  rtfq-bench "
      "machine --refresh");
  command->callback([&action, options] {
    action = [options] { return machine(options->refresh, options->threads, options->device); };
  });
}

}  // namespace rtfq::lab
