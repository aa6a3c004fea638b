#include "training/latency.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "engine/random.h"
#include "training/prepared_images.h"

namespace rtfq {
namespace {

constexpr int visits = 4;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Tensor noise(Dims dims) {
  Random random(1, Purpose::test);
  Tensor images = Tensor::empty(dims);
  for (int64_t i = 0; i < images.count(); ++i) images.as<float>()[i] = random.uniform(-1, 1);
  return images;
}

/// Passes of visit `visit`, so that all visits together make `total`.
int64_t share(int64_t total, int visit) {
  return total * (visit + 1) / visits - total * visit / visits;
}

}  // namespace

std::string machine_name() {
  std::string model = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (const auto colon = line.find(": "); line.starts_with("model name") && colon != line.npos) {
      model = line.substr(colon + 2);
      break;
    }
  const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
  return model + ", " + std::to_string(processors) + (processors == 1 ? " processor" : " processors");
}

Spread spread_of(std::vector<double> values) {
  if (values.empty()) throw std::invalid_argument("[latency] no measurements");
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double position = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (position - std::floor(position)) * (values[above] - values[below]);
  };
  return {quantile(0.5), quantile(0.75) - quantile(0.25)};
}

std::vector<Latency> measure_latency(Supernet& network, const Config& config, std::span<const Subnet> subnets,
                                     const LatencyOptions& options, const Progress& progress) {
  const int64_t passes = std::max<int64_t>(visits, (options.images + options.batch - 1) / options.batch);
  std::vector<std::vector<double>> milliseconds(subnets.size());
  const BatchPart part{inference_domain(config), options.batch};
  const auto total = static_cast<int64_t>(subnets.size()) * visits;
  for (int64_t turn = 0; turn < total; ++turn) {
    const auto count = static_cast<int64_t>(subnets.size());
    const int visit = static_cast<int>(turn / count);
    const int64_t place = visit % 2 ? count - 1 - turn % count : turn % count;
    const Subnet& subnet = subnets[static_cast<std::size_t>(place)];
    const Tensor images =
        noise({options.batch, subnet.resolution, subnet.resolution, network.options().image_channels})
            .to(network.device());
    for (int64_t pass = -1; pass < share(passes, visit); ++pass) {
      Tape tape(false, network.stream());
      const double start = now();
      network.forward(tape, subnet, images, std::span(&part, 1), NormMode::stored);
      kernels::runtime::synchronize(network.stream());
      if (pass >= 0) milliseconds[static_cast<std::size_t>(place)].push_back(1e3 * (now() - start));
    }
    if (progress) progress(turn + 1, total);
  }
  const std::string machine = network.device().backend == Backend::cuda
                                  ? kernels::runtime::properties(network.device()).name
                                  : machine_name();
  std::vector<Latency> out;
  for (const auto& values : milliseconds) {
    const Spread spread = spread_of(values);
    out.push_back({spread.median, spread.quartiles, options.batch, kernels::runtime::threads(), machine});
  }
  return out;
}

}  // namespace rtfq
