#include "tools/bench/timing.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include "kernels/cpu/caches.h"
#include "kernels/cpu/machine.h"
#include "kernels/plugin/host.h"
#include "tools/bench/counters.h"
#include "tools/bench/statistics.h"

namespace rtfq::lab {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Keeps what Google Benchmark measured; prints nothing.
class Collector : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(Row& row) : row_(row) {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) throw std::runtime_error(run.error_message);
      if (run.run_type != Run::RT_Iteration) continue;
      const auto iterations = static_cast<double>(run.iterations);
      row_.seconds.push_back(run.real_accumulated_time / iterations);
      row_.cpu_seconds = run.cpu_accumulated_time / iterations;
      row_.iterations = run.iterations;
    }
  }

 private:
  Row& row_;
};

/// What memory gives at this moment to who reads such a share of what it moves; asked again after 50 ms,
/// since asking takes as long as a sample.
class MemoryRate {
 public:
  explicit MemoryRate(double read_share) : read_share_(read_share) {}
  double now() {
    static kernels::cpu::MemoryProbe probe;
    if (known_ > 0 && since(at_) < 0.05) return known_;
    known_ = probe.of_share(read_share_);
    at_ = Clock::now();
    return known_;
  }

 private:
  double read_share_;
  double known_ = 0;
  Clock::time_point at_;
};

/// One sample by Google Benchmark.
void sample(kernels::catalog::Instance& instance, const Settings& settings, bool own_clock, Row& row) {
  const bool manual = own_clock || settings.cold;
  auto* bench = benchmark::RegisterBenchmark(row.item.name().c_str(), [&](benchmark::State& state) {
    for (auto _ : state) {
      if (!manual) {
        instance.launch();
        continue;
      }
      if (settings.cold) evict_caches();
      const auto start = Clock::now();
      instance.launch();
      const double seconds = since(start);
      state.SetIterationTime(own_clock ? kernels::plugin::last_launch_seconds() : seconds);
    }
  });
  bench->MeasureProcessCPUTime();
  manual ? bench->UseManualTime() : bench->UseRealTime();
  // Later calls take as many launches as the first found right.
  if (row.iterations)
    bench->Iterations(row.iterations);
  else
    bench->MinTime(settings.sample_seconds);
  Collector collector(row);
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();
}

bool quiet_enough(const Row& row, double noise) {
  const Interval interval = median_interval(row.seconds, 0.99);
  return (interval.high - interval.low) / 2 <= noise * row.median();
}

}  // namespace

double largest_cache() {
  const int64_t bytes = kernels::cpu::last_level_cache();
  return bytes > 0 ? static_cast<double>(bytes) : 32e6;
}

void evict_caches() {
  static std::vector<char> memory(static_cast<std::size_t>(2 * largest_cache()));
  for (std::size_t i = 0; i < memory.size(); i += 64) ++memory[i];
  benchmark::DoNotOptimize(memory.data());
  benchmark::ClobberMemory();
}

void time_launches(kernels::catalog::Instance& instance, const Settings& settings, Row& row) {
  static const bool initialized = [] {
    static char name[] = "rtfq-bench";
    static char* argv[] = {name, nullptr};
    int argc = 1;
    benchmark::Initialize(&argc, argv);
    return true;
  }();
  static_cast<void>(initialized);
  const auto start = Clock::now();
  instance.launch();  // caches, pages and threads are what they will be
  const bool own_clock = !std::isnan(kernels::plugin::last_launch_seconds()) &&
                         kernels::plugin::find(row.item.op, row.item.implementation);
  // Of a slow kernel as many samples as the time allows, but one.
  int repetitions = std::clamp(static_cast<int>(settings.seconds / since(start)), 1, settings.samples);
  MemoryRate memory(row.read_share);
  const bool beyond = static_cast<double>(instance.footprint()) >= largest_cache();
  for (;;) {
    for (int i = 0; i < repetitions; ++i) {
      sample(instance, settings, own_clock, row);
      if (beyond) row.memory.push_back(memory.now());
    }
    if (quiet_enough(row, settings.noise)) break;
    const double left = settings.seconds - since(start),
                 each = row.median() * static_cast<double>(row.iterations);
    repetitions =
        static_cast<int>(std::min(left / std::max(each, 1e-9), static_cast<double>(row.seconds.size())));
    if (repetitions < 1) {
      row.noisy = true;
      break;
    }
  }
  if (settings.counters) count_events(instance, row);
}

}  // namespace rtfq::lab
