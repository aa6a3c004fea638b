#include "training/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include "data/prepared_cache.h"
#include "training/latency.h"
#include "training/network.h"
#include "training/phases.h"
#include "training/prepared_images.h"
#include "training/rehearsal.h"
#include "training/step_macs.h"

namespace rtfq {
namespace {

using Say = std::function<void(const std::string&)>;

/// Steps of a phase whose passes are looked at, evenly spread.
constexpr int64_t sampled_steps = 500;

/// What the steps of a phase have in common and which stand for them.
struct PhaseSteps {
  double mean_macs = 0;
  std::vector<std::vector<PassPlan>> typical;  ///< nearest the mean first, at most three
  std::vector<PassPlan> largest;
};

PhaseSteps look_at(const Config& config, const Phase& range, StepMacs& macs) {
  struct Step {
    double macs;
    std::vector<PassPlan> passes;
  };
  const int64_t count = range.name == "float" ? 1 : std::min(sampled_steps, range.end - range.begin);
  std::vector<Step> steps;
  PhaseSteps out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t step = range.begin + i * (range.end - range.begin) / count;
    auto passes = passes_at(config, step);
    const double of_step = macs.of_step(range.name, passes);
    out.mean_macs += of_step / static_cast<double>(count);
    steps.push_back({of_step, std::move(passes)});
  }
  out.largest = std::max_element(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
                  return a.macs < b.macs;
                })->passes;
  const std::size_t typical = std::min<std::size_t>(3, steps.size());
  std::partial_sort(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(typical), steps.end(),
                    [&](const Step& a, const Step& b) {
                      return std::abs(a.macs - out.mean_macs) < std::abs(b.macs - out.mean_macs);
                    });
  for (std::size_t i = 0; i < typical; ++i) out.typical.push_back(std::move(steps[i].passes));
  return out;
}

/// The peak of `work(batch)` from smaller batches. Large blocks of the pool are not rounded, small ones in
/// eighths of powers of two: halves of a batch keep its rounding and the line through them is straight.
template <class Work>
std::size_t predicted_peak(const Rehearsal& rehearsal, int batch, const Work& work) {
  const auto peak = [&](int b) { return static_cast<double>(rehearsal.peak([&] { work(b); })); };
  if (batch < 8) return static_cast<std::size_t>(peak(batch));
  const int small = batch / 8, large = batch / 4;
  peak(small);  // prepares what stays
  const double low = peak(small), high = peak(large);
  return static_cast<std::size_t>(low + (high - low) * (batch - small) / (large - small));
}

void time_steps(PhasePlan& plan, Rehearsal& rehearsal, const PhaseSteps& steps, int batch, double factor,
                double limit) {
  std::vector<double> seconds;
  double spent = 0;
  for (int round = 0; round < 3; ++round)
    for (const auto& passes : steps.typical) {
      if (!seconds.empty() && spent >= limit) break;
      double s = 0;
      // The first round is not timed, but where it took all there is, its first step must be followed by a
      // timed one.
      spent += s = rehearsal.step(plan.name, passes, batch);
      if (round == 0 && spent < limit) continue;
      if (round == 0) spent += s = rehearsal.step(plan.name, passes, batch);
      seconds.push_back(factor * s);
    }
  const Spread spread = spread_of(seconds);
  plan.step_seconds = spread.median;
  plan.step_spread = spread.quartiles;
  plan.timed_steps = static_cast<int>(seconds.size());
}

/// Seconds that loading one batch of a domain takes when nothing else runs.
struct LoadTime {
  double fresh = 0;   ///< images are decoded
  double cached = 0;  ///< images are in the cache
  double kept = 1;    ///< of the data set, that fits the cache
  int64_t steps_per_epoch = 1;

  /// Mean over `steps` steps from the first on.
  double mean(int64_t steps) const {
    const auto first = static_cast<double>(std::min(steps, steps_per_epoch));
    const double later = kept * cached + (1 - kept) * fresh;
    return (first * fresh + (static_cast<double>(steps) - first) * later) / static_cast<double>(steps);
  }
};

/// The part of a data set that fits the cache, from the decoded size of some images.
double kept_part(const Config& config, const data::Dataset& dataset) {
  const std::size_t count = dataset.samples.size(), looked_at = std::min<std::size_t>(8, count);
  double bytes = 0;
  const data::LoaderOptions how = loader_options(config, Domain::source, true);
  const data::Preparation kept{how.channels, how.decoding, how.augmentation};
  int decoded = 0;
  for (std::size_t i = 0; i < looked_at; ++i) try {
      const auto image = data::prepare_file(dataset.samples[i * count / looked_at].path, kept);
      bytes += static_cast<double>(image.pixels.size());
      ++decoded;
    } catch (const std::runtime_error&) {
      if (config.data.bad_images == "error") throw;
    }
  const double all = decoded ? bytes / decoded * static_cast<double>(count) : 0;
  const double cache = static_cast<double>(config.data.cache_mib) * 1048576.0;
  return all > cache && config.data.cache_dir.empty() ? cache / all : 1;
}

LoadTime time_loading(const Config& config, const data::Dataset& dataset, Domain domain) {
  constexpr int batches = 6;
  data::LoaderOptions options = loader_options(config, domain, true);
  options.cache_folder.clear();  // a plan writes nothing
  options.plain_view = domain == Domain::target && config.train.teacher_view == "plain";
  data::Loader loader(dataset, options);
  const auto seconds = [&] {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < batches; ++i) loader.next();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / batches;
  };
  LoadTime time;
  time.steps_per_epoch = loader.steps_per_epoch();
  time.fresh = seconds();
  loader.seek(0);
  time.cached = seconds();
  time.kept = kept_part(config, dataset);
  return time;
}

/// A step's time with loading beside it.
double with_loading(double step, double load, int loader_threads, int compute_threads) {
  const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (loader_threads + compute_threads <= processors) return std::max(step, load);
  return step + load * std::min(loader_threads, processors) / processors;
}

void plan_calibration(TrainingPlan& plan, const Config& config, Rehearsal& rehearsal, StepMacs& macs,
                      const PlanOptions& options) {
  const std::vector<Subnet> subnets = trained_subnets(config);
  const int batch = evaluation_batch(config.model.bank.resolutions.front());
  const bool target = plan.target_images > 0 && config.model.domain_norms;
  // Without calibration only subnets that no step drew get statistics: few, and not foretold here.
  if (config.train.calibration_images == 0) return;
  plan.calibrated = static_cast<int64_t>(subnets.size());
  plan.calibration_domains = target ? 2 : 1;
  plan.peak_bytes = std::max(plan.peak_bytes, predicted_peak(rehearsal, batch, [&](int b) {
                               // They are prepared for every size of a batch; a real run has but one.
                               rehearsal.forget_prepared_weights();
                               rehearsal.calibration_pass(subnets.front(), b);
                             }));
  if (!options.timed) return;
  const int timed_batch = plan.fits() ? batch : std::max(1, batch / 4);
  const auto per_image = [&](const Subnet& subnet) {
    rehearsal.calibration_pass(subnet, timed_batch);
    return std::min(rehearsal.calibration_pass(subnet, timed_batch),
                    rehearsal.calibration_pass(subnet, timed_batch)) /
           timed_batch;
  };
  // A straight line over multiply-adds, through the ends of the bank.
  const double high = per_image(subnets.front()), low = per_image(subnets.back());
  const double most = macs.of(subnets.front()), least = macs.of(subnets.back());
  double images = 0;  // of all domains; each domain's in whole batches
  for (const int64_t size : {plan.source_images, target ? plan.target_images : int64_t{0}})
    images += std::ceil(static_cast<double>(std::min(size, config.train.calibration_images)) / batch) * batch;
  for (const Subnet& subnet : subnets) {
    const double place = most > least ? (macs.of(subnet) - least) / (most - least) : 1;
    plan.calibration_seconds += images * (low + place * (high - low));
  }
}

}  // namespace

std::size_t available_memory() {
  const auto number_in = [](const char* path, const std::string& label) -> double {
    std::ifstream in(path);
    std::string word;
    if (!label.empty())
      while (in >> word && word != label) continue;
    double value = -1;
    return in >> value ? value : -1;
  };
  const double free = number_in("/proc/meminfo", "MemAvailable:") * 1024;
  const double limit = number_in("/sys/fs/cgroup/memory.max", ""),
               used = number_in("/sys/fs/cgroup/memory.current", "");
  double available = free > 0 ? free : 0;
  if (limit > 0 && used >= 0) available = std::min(available, std::max(0.0, limit - used));
  return static_cast<std::size_t>(available);
}

TrainingPlan plan_training(const Config& config, const PlanOptions& options, const Say& tell) {
  const auto say = [&](const std::string& text) {
    if (tell) tell(text);
  };
  if (config.threads > 0) kernels::runtime::set_threads(config.threads);
  const TrainingData data = open_training_data(config);
  TrainingPlan plan;
  plan.source_images = static_cast<int64_t>(data.source.samples.size());
  plan.target_images = static_cast<int64_t>(data.target.samples.size());
  plan.classes = static_cast<int64_t>(data.source.classes.size());
  plan.steps = config.train.steps;
  const int batch = config.train.batch;
  StepMacs macs(config, plan.classes);
  std::vector<PhaseSteps> steps;
  for (const Phase& range : phases_of(config.train)) {
    steps.push_back(look_at(config, range, macs));
    PhasePlan phase;
    phase.name = range.name;
    phase.steps = range.end - range.begin;
    phase.images = phase.name == "adapt" ? 2 * batch : batch;
    phase.macs = steps.back().mean_macs;
    const auto drawn = static_cast<double>(phase.steps * batch);
    phase.source_epochs = drawn / static_cast<double>(plan.source_images);
    if (phase.name == "adapt") phase.target_epochs = drawn / static_cast<double>(plan.target_images);
    plan.images += phase.steps * phase.images;
    plan.phases.push_back(phase);
  }

  say("loading images");
  const LoadTime source = time_loading(config, data.source, Domain::source);
  const bool adapts = plan.phases.back().name == "adapt";
  const LoadTime target = adapts ? time_loading(config, data.target, Domain::target) : LoadTime();

  say("memory, with small batches");
  plan.available_bytes = available_memory();
  Rehearsal rehearsal(config, plan.classes);
  for (std::size_t i = 0; i < plan.phases.size(); ++i)
    plan.peak_bytes = std::max(plan.peak_bytes, predicted_peak(rehearsal, batch, [&](int b) {
                                 rehearsal.step(plan.phases[i].name, steps[i].largest, b);
                               }));
  say("calibration");
  plan_calibration(plan, config, rehearsal, macs, options);
  if (!options.timed) return plan;

  plan.scaled = !plan.fits();
  const int timed_batch = plan.scaled ? std::max(1, batch / 4) : batch;
  for (std::size_t i = 0; i < plan.phases.size(); ++i) {
    PhasePlan& phase = plan.phases[i];
    say("steps of phase " + phase.name);
    time_steps(phase, rehearsal, steps[i], timed_batch, static_cast<double>(batch) / timed_batch,
               options.seconds_per_phase);
    const int loaders = phase.name == "adapt" ? 2 : 1;
    phase.load_seconds = source.mean(phase.steps) + (loaders == 2 ? target.mean(phase.steps) : 0);
    phase.seconds = static_cast<double>(phase.steps) * with_loading(phase.step_seconds, phase.load_seconds,
                                                                    loaders * config.data.threads,
                                                                    kernels::runtime::threads());
    plan.seconds += phase.seconds;
  }
  plan.seconds += plan.calibration_seconds;
  return plan;
}

}  // namespace rtfq
