#pragma once
// The work of training in multiply-adds: a forward pass counts once, its gradients twice as much, the
// teacher's forward passes once; quantizers, norms and calibration are left out.

#include <map>
#include <string>
#include <vector>

#include "models/supernet.h"
#include "training/config.h"
#include "training/sampler.h"

namespace rtfq {

class StepMacs {
 public:
  /// `config` has to outlive this.
  StepMacs(const Config& config, int64_t classes);
  /// A forward pass of one image, computed once for each subnet.
  double of(const Subnet&);
  /// One step of a phase ("float", "source", "adapt") with these passes.
  double of_step(const std::string& phase, const std::vector<PassPlan>&);
  /// Of a whole run: the sum over all steps, of a long phase from 2,000 steps spread over it.
  double of_run();

 private:
  const Config& config_;
  SupernetOptions options_;
  std::map<std::string, double> known_;
};

}  // namespace rtfq
