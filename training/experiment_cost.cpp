// What training costs, in multiply-adds.
#include <algorithm>
#include <map>
#include <tuple>

#include "training/experiment_results.h"
#include "training/network.h"
#include "training/sampler.h"
#include "training/trainer_state.h"

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

/// Wall clock of one step, evaluation included.
double seconds_a_step(const RunResult& result) {
  return (result.record.train_seconds + result.record.eval_seconds) /
         static_cast<double>(result.run.config.train.steps);
}

}  // namespace

std::optional<double> estimated_seconds(const RunResult& wanted, const std::vector<RunResult>& all) {
  for (const bool same_task : {true, false}) {
    double sum = 0;
    int count = 0;
    for (const RunResult& result : all) {
      if (!result.finished() || result.record.train_seconds == 0 || result.run.method != wanted.run.method)
        continue;
      if (same_task && result.run.task != wanted.run.task) continue;
      sum += seconds_a_step(result);
      ++count;
    }
    const auto steps = static_cast<double>(wanted.run.config.train.steps - wanted.progress.step);
    if (count > 0) return sum / count * steps;
  }
  return {};
}

double training_macs(const Config& config, int64_t classes) {
  constexpr double forward_and_gradients = 3;
  const TrainConfig& train = config.train;
  ForwardMacs macs(config, classes);
  const double batch = train.batch;
  double sum = 0;
  const int64_t adapts = train.method == "source_only" ? train.steps : adapts_from(train);
  for (int64_t step = 0; step < train.steps; ++step) {
    const bool whole = train.method == "source_only" || step < train.float_steps;
    const auto passes = whole ? single_pass(float_subnet(config))
                        : trains_single(config)
                            ? single_pass(teaching_subnet(config))
                            : sample_passes(config.model.bank, train.sampler, train.passes, train.seed,
                                            static_cast<uint64_t>(step));
    for (const PassPlan& pass : passes)
      sum += forward_and_gradients * (step >= adapts ? 2 : 1) * batch * macs(pass.subnet);
    if (step >= adapts) sum += batch * teaching(config, passes, macs);
  }
  return sum;
}

}  // namespace rtfq::experiment
