#include "tools/plan_text.h"

#include <cstdio>

#include "kernels/runtime/device.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "training/latency.h"

namespace rtfq::cli {
namespace {

template <class... T>
std::string format(const char* pattern, T... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, pattern, values...);
  return buffer;
}

std::string seconds_text(double seconds) {
  return format(seconds < 1 ? "%.3f" : "%.2f", seconds);
}

std::string mebibytes(std::size_t bytes) {
  return std::to_string((bytes + (std::size_t{1} << 19)) >> 20) + " MiB";
}

}  // namespace

std::string plan_text(const TrainingPlan& plan, const Config& config) {
  std::vector<std::vector<std::string>> rows{{"phase", "steps", "images", "source epochs", "target epochs",
                                              "MACs/step", "s/step", "+-", "load s/step", "time"}};
  for (const PhasePlan& phase : plan.phases)
    rows.push_back({phase.name, std::to_string(phase.steps), std::to_string(phase.steps * phase.images),
                    format("%.1f", phase.source_epochs),
                    phase.target_epochs > 0 ? format("%.1f", phase.target_epochs) : "-", quantity(phase.macs),
                    seconds_text(phase.step_seconds), seconds_text(phase.step_spread),
                    seconds_text(phase.load_seconds), duration(phase.seconds)});
  rows.push_back({"calibration", "-", "-", "-", "-", "-", "-", "-", "-", duration(plan.calibration_seconds)});
  rows.push_back({"all", std::to_string(plan.steps), std::to_string(plan.images), "", "", "", "", "", "",
                  duration(plan.seconds)});
  std::string out = format("data         %lld source images of %lld classes, %lld target images\n",
                           static_cast<long long>(plan.source_images), static_cast<long long>(plan.classes),
                           static_cast<long long>(plan.target_images));
  out += plan.calibrated
             ? format("calibration  %lld subnet(s), %d domain(s), at most %lld images of each\n\n",
                      static_cast<long long>(plan.calibrated), plan.calibration_domains,
                      static_cast<long long>(config.train.calibration_images))
             : "calibration  off: running averages stay; subnets that no step draws are not in the time\n\n";
  out += table(rows);
  out += "\nmemory       " + mebibytes(plan.peak_bytes) + " of tensors at the peak";
  if (plan.available_bytes) out += "; " + mebibytes(plan.available_bytes) + " available";
  if (!plan.fits()) out += ": it does not fit; lower train.batch or bank.resolutions";
  out += "\nmeasured     on noise, " + std::to_string(kernels::runtime::threads()) + " thread(s), " +
         machine_name() + ":\n             median of";
  for (const PhasePlan& phase : plan.phases)
    out += " " + std::to_string(phase.timed_steps) + " (" + phase.name + ")";
  out +=
      " warm steps of about the mean MACs, +- between their quartiles;\n             MACs count gradients as "
      "twice "
      "the forward pass, and the teacher";
  if (plan.scaled)
    out += ";\n             with a quarter of the batch, times four, because whole steps do not fit";
  return out + "\n";
}

}  // namespace rtfq::cli
