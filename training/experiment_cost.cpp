// What training costs, in multiply-adds.
#include <algorithm>
#include <map>
#include <tuple>

#include "training/experiment_results.h"
#include "training/network.h"
#include "training/sampler.h"
#include "training/phases.h"

namespace rtfq::experiment {
namespace {

/// Forward MACs of one image, remembered.
class ForwardMacs {
 public:
  ForwardMacs(const Config& config, int64_t classes) : options_(supernet_options(config, classes)) {}
  double operator()(const Subnet& subnet) {
    double& macs = known_[{subnet.width, subnet.depth, subnet.resolution}];
    if (macs == 0) macs = static_cast<double>(subnet_cost(options_, subnet).macs);
    return macs;
  }

 private:
  SupernetOptions options_;
  std::map<std::tuple<double, double, int>, double> known_;
};

/// The teacher's forward passes of one step (step.cpp: ask_teacher).
double teaching(const Config& config, const std::vector<PassPlan>& passes, ForwardMacs& macs) {
  const auto any = [&](Role role) {
    return std::any_of(passes.begin(), passes.end(), [&](const PassPlan& pass) { return pass.role == role; });
  };
  const LossConfig& loss = config.loss;
  const bool distils = loss.distillation > 0 && (any(Role::smallest) || any(Role::random));
  const bool labels = loss.pseudo_label > 0 && loss.pseudo_source == "teacher" && any(Role::largest);
  const bool shares = loss.information > 0 && loss.information_prior == "teacher";
  if (!distils && !labels && !shares) return 0;
  const Bank& bank = config.model.bank;
  const Subnet largest = teaching_subnet(config);
  double sum = macs(largest);
  if (!distils || !any(Role::smallest) || loss.ensemble == "largest") return sum;
  for (const Subnet& subnet :
       loss.ensemble == "all" ? intermediate_teachers(bank) : intermediate_teachers(bank, passes))
    if (subnet != largest) sum += macs(subnet);
  return sum;
}

/// Seconds for a multiply-add of training, evaluation and the rest included: of finished runs of the same
/// method and task, else of the same method, else of any.
std::optional<double> seconds_a_mac(const RunResult& wanted, const std::vector<RunResult>& all) {
  for (const int alike : {2, 1, 0}) {
    double seconds = 0, macs = 0;
    for (const RunResult& result : all) {
      if (!result.finished() || result.record.train_seconds == 0 || result.train_macs == 0) continue;
      if (alike >= 1 && result.run.method != wanted.run.method) continue;
      if (alike == 2 && result.run.task != wanted.run.task) continue;
      seconds += result.record.train_seconds + result.record.eval_seconds;
      macs += result.train_macs;
    }
    if (macs > 0) return seconds / macs;
  }
  return {};
}

/// Steps of a phase whose passes are counted; a longer phase is represented by so many, evenly spread.
constexpr int64_t counted_steps = 2000;

}  // namespace

std::optional<double> estimated_seconds(const RunResult& wanted, const std::vector<RunResult>& all) {
  if (wanted.run.parent >= 0) {  // nothing is trained: as long as others took
    double seconds = 0, count = 0;
    for (const RunResult& result : all)
      if (result.finished() && result.run.parent >= 0 && result.record.train_seconds > 0)
        seconds += result.record.train_seconds + result.record.eval_seconds, ++count;
    return count > 0 ? std::optional(seconds / count) : std::nullopt;
  }
  const auto rate = seconds_a_mac(wanted, all);
  if (!rate) return {};
  int64_t classes = 0;  // of the task, else of any
  for (const RunResult& result : all)
    if (result.record.classes > 0 && (classes == 0 || result.run.task == wanted.run.task))
      classes = result.record.classes;
  const TrainConfig& train = wanted.run.config.train;
  const double left = 1 - static_cast<double>(wanted.progress.step) / static_cast<double>(train.steps);
  return *rate * training_macs(wanted.run.config, classes) * left;
}

double training_macs(const Config& config, int64_t classes) {
  constexpr double forward_and_gradients = 3;
  const TrainConfig& train = config.train;
  const bool source_only = train.method == "source_only";
  const int64_t first[] = {0, source_only ? train.steps : train.float_steps,
                           source_only ? train.steps : adapts_from(train), train.steps};
  ForwardMacs macs(config, classes);
  const auto step_macs = [&](int phase, int64_t step) {
    const auto passes = phase == 0 ? single_pass(float_subnet(config))
                        : trains_single(config)
                            ? single_pass(teaching_subnet(config))
                            : sample_passes(config.model.bank, train.sampler, train.passes, train.seed,
                                            static_cast<uint64_t>(step));
    double sum = phase == 2 ? train.batch * teaching(config, passes, macs) : 0;
    for (const PassPlan& pass : passes)
      sum += forward_and_gradients * (phase == 2 ? 2 : 1) * train.batch * macs(pass.subnet);
    return sum;
  };
  double sum = 0;
  for (int phase = 0; phase < 3; ++phase) {
    const int64_t steps = first[phase + 1] - first[phase];
    const int64_t counted = phase == 0 ? std::min<int64_t>(1, steps) : std::min(counted_steps, steps);
    double here = 0;
    for (int64_t i = 0; i < counted; ++i) here += step_macs(phase, first[phase] + i * steps / counted);
    if (counted > 0) sum += here * static_cast<double>(steps) / static_cast<double>(counted);
  }
  return sum;
}

}  // namespace rtfq::experiment
