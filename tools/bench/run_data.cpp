#include "tools/bench/run_data.h"

#include <map>
#include <stdexcept>

#include "engine/safetensors.h"
#include "tools/bench/statistics.h"
#include "training/run_folder.h"

namespace rtfq::lab {

const RunValues& run_values(const std::string& run, int bits) {
  static std::map<std::pair<std::string, int>, RunValues> known;
  const auto [at, added] = known.try_emplace({run, bits});
  if (!added) return at->second;
  const auto file = load_tensors(find_run(run).checkpoint);
  std::vector<float> weights;
  std::vector<double> steps;
  const std::string step_name = ".step.b" + std::to_string(bits);
  for (const auto& [name, tensor] : file.tensors) {
    if (name.rfind("student/", 0) != 0) continue;
    if (name.ends_with(step_name) && name.find("conv") != name.npos) steps.push_back(tensor.as<float>()[0]);
    if (tensor.rank() != 4) continue;
    const auto values = tensor.to_vector();
    weights.insert(weights.end(), values.begin(), values.end());
  }
  if (weights.empty())
    throw std::invalid_argument("[data] the checkpoint of " + run + " holds no convolutions");
  at->second.weights = std::make_shared<const std::vector<float>>(std::move(weights));
  if (!steps.empty()) at->second.step = static_cast<float>(quantile(steps, 0.5));
  return at->second;
}

}  // namespace rtfq::lab
