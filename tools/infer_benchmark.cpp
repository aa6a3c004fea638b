// rtfq-runtime: milliseconds of a packed network of random weights, for tools/compare_runtimes, which
// alternates it with other runtimes' processes. Quantized with 8-bit ends, the identity path in the
// convolutions' codes. Weights are normal, with the step sizes that LSQ starts with: time does not depend on
// them but for AVX2 alone, where small codes take less (kernels/cpu/convquant_runs.h). Prints "ready"; then
// each line "BITS RUNS" of its input is answered by a JSON list of pairs: by the clock, and of the process on
// its processors.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/random.h"
#include "models/packed/pack.h"
#include "tools/deploy/session.h"

namespace {

using namespace rtfq;

struct Arguments {
  std::string arch = "resnet50";
  int resolution = 224, batch = 1, threads = 0;
};

std::vector<unsigned char> packed_network(const Arguments& a) {
  SupernetOptions options;
  options.arch = a.arch;
  options.classes = 1000;
  options.image_channels = 3;
  options.bank = {{1.0}, {1.0}, {a.resolution}, {8, 4}, 16};
  options.residual = Residual::codes;
  options.integer = true;
  options.image_bound = 3;
  Supernet network(options, 1);
  // A batch gives step sizes and norms their first values.
  Random random(1, Purpose::test);
  Tensor images = Tensor::empty({2, a.resolution, a.resolution, 3});
  for (int64_t i = 0; i < images.count(); ++i) images.as<float>()[i] = random.normal();
  const BatchPart part{Domain::target, 2};
  std::vector<packed::SubnetEntry> entries;
  for (const Subnet& subnet : options.bank.subnets()) {
    Tape tape(true);
    network.forward(tape, subnet, images, std::span(&part, 1), NormMode::train);
    entries.push_back({subnet, network.cost(subnet), {}});
  }
  packed::PackInfo info;
  info.made_by = "rtfq-runtime";
  for (int i = 0; i < options.classes; ++i) info.classes.push_back(std::to_string(i));
  info.preprocessing = {3,     {0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}, a.resolution, false, false,
                        false, a.resolution};
  return packed::pack(network, Domain::target, entries, info);
}

int run(const Arguments& a) {
  const auto loaded = deploy::LoadedModel::from_bytes(packed_network(a));
  deploy::Session session(loaded, {a.threads, a.batch, {}});
  // On huge pages where there are many, as NumPy's arrays are, which the other runtimes are given.
  const Tensor memory = Tensor::empty({a.batch, a.resolution, a.resolution, 3});
  const std::span images(memory.as<float>(), static_cast<std::size_t>(memory.count()));
  std::vector<float> logits(static_cast<std::size_t>(a.batch) * 1000);
  Random random(2, Purpose::test);
  for (float& value : images) value = random.normal();
  std::puts("ready");
  std::fflush(stdout);
  int bits = 0, runs = 0;
  while (std::cin >> bits >> runs) {
    session.switch_to(loaded->model().index({1.0, 1.0, a.resolution, bits}));
    nlohmann::json times = nlohmann::json::array();
    for (int i = 0; i < runs; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const std::clock_t cpu = std::clock();
      session.run(images.data(), a.batch, logits.data());
      const double used = 1e3 * static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
      times.push_back(
          {std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count(),
           used});
    }
    std::printf("%s\n", times.dump().c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"milliseconds of a packed network of random weights; see tools/compare_runtimes"};
  app.add_option("--arch", a.arch);
  app.add_option("--res", a.resolution)->check(CLI::Range(16, 1024));
  app.add_option("--batch", a.batch)->check(CLI::Range(1, 4096));
  app.add_option("--threads", a.threads)->check(CLI::Range(0, 1024));
  CLI11_PARSE(app, argc, argv);
  try {
    return run(a);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-runtime: %s\n", error.what());
    return 1;
  }
}
