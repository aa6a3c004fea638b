#include "tools/bench/pairs.h"

#include <chrono>
#include <cmath>
#include <random>

#include "kernels/plugin/host.h"
#include "tools/bench/gpu_timing.h"
#include "tools/bench/subject.h"
#include "tools/bench/verify.h"

namespace rtfq::lab {
namespace {

using Clock = std::chrono::steady_clock;

/// One side: switches the instance to its implementation and launches it.
class Side {
 public:
  Side(kernels::catalog::Instance& instance, const Item& item)
      : instance_(instance), item_(item), device_(kernels::parse_device(item.device)) {}

  /// Seconds of `launches` launches.
  double run(int64_t launches) {
    instance_.prepare(device_.backend, item_.implementation);
    if (device_.backend == kernels::Backend::cuda) return gpu_seconds(instance_, device_, launches);
    double own = 0;
    const auto start = Clock::now();
    for (int64_t i = 0; i < launches; ++i) {
      instance_.launch();
      if (has_clock_) own += kernels::plugin::last_launch_seconds();
    }
    return has_clock_ ? own : std::chrono::duration<double>(Clock::now() - start).count();
  }
  /// As many launches as a sample needs; also wakes everything that sleeps at first.
  int64_t calibrate(double sample_seconds) {
    run(1);
    has_clock_ = kernels::plugin::find(item_.op, item_.implementation) != nullptr &&
                 !std::isnan(kernels::plugin::last_launch_seconds());
    int64_t launches = 1;
    double seconds = run(1);
    while (seconds < sample_seconds) {
      const double more = std::clamp(1.2 * sample_seconds / std::max(seconds, 1e-9), 1.5, 20.0);
      launches = static_cast<int64_t>(std::ceil(static_cast<double>(launches) * more));
      seconds = run(launches);
    }
    return launches;
  }

 private:
  kernels::catalog::Instance& instance_;
  Item item_;
  kernels::Device device_;
  bool has_clock_ = false;
};

}  // namespace

json measure_pairs(const json& request, const std::function<void(const std::string&, double)>& phase) {
  const Settings settings = request.at("settings");
  const int pairs = request.at("pairs");
  Verifier verifier(settings, phase);
  const Item item_a = verifier.named(request.at("a")), item_b = verifier.named(request.at("b"));
  Row row_a, row_b;
  row_a.item = item_a;
  row_b.item = item_b;
  json answer;
  bool right = true;
  for (auto* side : {&row_a, &row_b}) {
    if (request.at("verified")) {
      side->outcome = Outcome::exact;
      continue;
    }
    verifier.battery(side->item, *side);
    if (usable(side->outcome)) verifier.item(side->item, *side);
    side->rounding = rounding_of(side->item);
    right &= usable(side->outcome);
  }
  json measured = json::array();
  if (right) {
    kernels::catalog::use_cuda_device(kernels::parse_device(item_a.device).index);
    phase("making the data of " + item_a.name(), making_limit);
    // The same operands for both, so that a kernel and itself differ in nothing.
    const auto instance = make_instance(item_a, false);
    const double sample_seconds = settings.sample_seconds;
    phase("timing both", settings.limit + 10 * pairs * sample_seconds);
    Side a(*instance, item_a), b(*instance, item_b);
    const int64_t launches_a = a.calibrate(sample_seconds), launches_b = b.calibrate(sample_seconds);
    for (auto* row : {&row_a, &row_b}) {
      row->cost = instance->cost();
      row->read_share = instance->read_share();
      row->footprint = static_cast<double>(instance->footprint());
    }
    // Who goes first is drawn for each pair: whatever drifts favours neither, and under the hypothesis that
    // both are equal the sign of each pair's difference is a fair coin.
    std::mt19937 random(request.at("seed").get<unsigned>());
    for (int i = 0; i < pairs; ++i) {
      const bool a_first = (random() & 1) == 0;
      Pair pair;
      for (const bool first : {true, false}) {
        if (first == a_first)
          pair.a = a.run(launches_a) / static_cast<double>(launches_a);
        else
          pair.b = b.run(launches_b) / static_cast<double>(launches_b);
      }
      row_a.seconds.push_back(pair.a);
      row_b.seconds.push_back(pair.b);
      measured.push_back({pair.a, pair.b});
    }
    row_a.iterations = launches_a;
    row_b.iterations = launches_b;
  }
  return {{"a", row_a}, {"b", row_b}, {"pairs", measured}};
}

}  // namespace rtfq::lab
