// rtfq-step: seconds a SandwichQ training step takes, on noise, with the passes and loss terms that the
// PyTorch yardstick uses: (width 1, res, 8 bits), (0.9, 5/7 res, 8), (0.9, 5/7 res, 6) learning from the one
// before, (0.85, 4/7 res, 4); one teacher forward. Prints one JSON line. See tools/compare_pytorch.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/random.h"
#include "training/network.h"
#include "training/pass_graphs.h"
#include "training/step.h"

namespace {

using namespace rtfq;

struct Arguments {
  std::string arch = "resnet50", precision = "f32", device = "cpu";
  int resolution = 224, batch = 32, classes = 31, passes = 4, steps = 3, warmup = 1;
  bool graphs = false, equal = false;
};

Config configuration(const Arguments& a) {
  Config config;
  config.model.arch = a.arch;
  config.precision = a.precision;
  config.device = a.device;
  const int r = a.resolution;
  const auto level = [&](int sevenths) { return r * sevenths / 7 / 16 * 16; };
  config.model.bank = {{1.0, 0.95, 0.9, 0.85}, {1.0}, {r, level(6), level(5), level(4)}, {8, 6, 4}, 16};
  config.loss.ensemble = "largest";
  config.train.passes = a.passes;
  config.train.batch = a.batch;
  return config;
}

std::vector<PassPlan> passes_of(const Arguments& a, const Bank& bank) {
  const int middle = bank.resolutions[2];
  std::vector<PassPlan> passes{{bank.largest(), Role::largest, -1},
                               {{0.9, 1.0, middle, 8}, Role::random, -1},
                               {{0.9, 1.0, middle, 6}, Role::random, 1},
                               {bank.smallest(), Role::smallest, -1}};
  if (a.equal)
    for (std::size_t i = 1; i < passes.size(); ++i) passes[i] = {bank.largest(), Role::random, -1};
  passes.resize(static_cast<std::size_t>(std::clamp(a.passes, 1, 4)));
  return passes;
}

/// Multiply-adds of a step: forward, data and weight gradient of every pass on both domains, and the
/// teacher's forward.
double step_macs(const Supernet& student, const Config& config, const std::vector<PassPlan>& passes,
                 int batch) {
  double macs =
      static_cast<double>(batch) * static_cast<double>(student.cost(config.model.bank.largest()).macs);
  for (const PassPlan& pass : passes)
    macs += 3.0 * 2 * batch * static_cast<double>(student.cost(pass.subnet).macs);
  return macs;
}

int run(const Arguments& a) {
  const Config config = configuration(a);
  const auto options = supernet_options(config, a.classes);
  Supernet student(options, 1), teacher(options, 1);
  const Device device = device_of(config);
  student.move_to(device);
  teacher.drop_gradients();
  teacher.move_to(device);
  Optimizer optimizer(student, config.optimizer);

  StepInput input;
  input.images = Tensor::empty({2 * a.batch, a.resolution, a.resolution, 3});
  Random random(1, Purpose::test);
  for (int64_t i = 0; i < input.images.count(); ++i) input.images.as<float>()[i] = random.normal();
  for (int i = 0; i < a.batch; ++i)
    input.labels.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(a.classes))));
  input.images = input.images.to(device);
  input.passes = passes_of(a, config.model.bank);
  input.learning_rate = config.optimizer.learning_rate;

  // The teacher's step sizes come from the student's, which its first passes set.
  StepInput first = input;
  first.images = input.images.leading(0, a.batch);
  run_step(student, nullptr, optimizer, config, first);
  teacher.copy_parameters(student);

  std::optional<PassGraphs> graphs;
  if (a.graphs) input.graphs = &graphs.emplace(student, config);

  std::vector<double> seconds;
  for (int i = 0; i < a.warmup + a.steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run_step(student, &teacher, optimizer, config, input);
    kernels::runtime::synchronize(student.stream());
    if (i >= a.warmup)
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const nlohmann::ordered_json line{{"arch", a.arch},
                                    {"res", a.resolution},
                                    {"batch", a.batch},
                                    {"precision", config.precision},
                                    {"passes", input.passes.size()},
                                    {"device", config.device},
                                    {"graphs", graphs ? graphs->graphs() : 0},
                                    {"threads", kernels::runtime::threads()},
                                    {"step_s", sorted[sorted.size() / 2]},
                                    {"steps", seconds},
                                    {"gmacs", step_macs(student, config, input.passes, a.batch) * 1e-9},
                                    {"peak_mib", usage.ru_maxrss / 1024},
                                    {"pool_peak_mib", memory::statistics(device).peak >> 20},
                                    {"pool_reserved_mib", memory::statistics(device).reserved >> 20}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Seconds a SandwichQ training step takes on noise, as one JSON line");
  app.add_option("--arch", a.arch, "ResNet")->check(CLI::IsMember(resnet_names()))->capture_default_str();
  app.add_option("--precision", a.precision, "of arithmetic")
      ->check(CLI::IsMember({"f32", "tf32", "bf16", "int8"}))
      ->capture_default_str();
  app.add_option("--device", a.device, "that computes")
      ->check(CLI::IsMember({"cpu", "cuda", "simt"}))
      ->capture_default_str();
  app.add_option("--res", a.resolution, "largest of four resolutions, a multiple of 16")
      ->check(CLI::Range(80, 1024))
      ->capture_default_str();
  app.add_option("--batch", a.batch, "images of each domain")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--classes", a.classes, "classes")->check(CLI::Range(2, 100000))->capture_default_str();
  app.add_option("--passes", a.passes, "passes a step")->check(CLI::Range(1, 4))->capture_default_str();
  app.add_flag("--equal", a.equal, "every pass is of the largest subnet, to see what one more takes");
  app.add_option("--steps", a.steps, "measured steps")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--warmup", a.warmup, "steps before them")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--graphs", a.graphs, "passes as graphs; they are recorded in the second step: --warmup 2");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(a);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-step: %s\n", error.what());
    return 1;
  }
}
