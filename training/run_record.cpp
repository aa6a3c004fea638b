#include "training/run_record.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/json.h"
#include "engine/ops/used.h"
#include "kernels/runtime/device.h"
#include "training/environment.h"
#include "training/report/report.h"

namespace rtfq {
namespace {

/// Reports take no more than this share of a run's time, however long its log grows.
constexpr double report_share = 0.01;

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

template <class Duration>
double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string session_start(const Trainer& trainer) {
  Json entry{{"event", "start"}, {"step", trainer.step()}};
  for (const auto& [name, value] : environment(0)) entry[name] = value;
  entry["threads"] = kernels::runtime::threads();
  entry["source_images"] = trainer.source_images();
  entry["target_images"] = trainer.target_images();
  entry["classes"] = trainer.classes();
  if (!trainer.pretrained().empty()) entry["pretrained"] = parse_json(trainer.pretrained());
  return print_json(entry);
}

}  // namespace

Scalars tensorboard_scalars(const StepReport& r) {
  Scalars out;
  const auto add = [&](const std::string& tag, double value) {
    out.emplace_back(tag, static_cast<float>(value));
  };
  add("loss/total", r.loss);
  for (const auto& [term, value] : r.terms) add("loss/" + term, value);
  for (const auto& [role, terms] : r.roles)
    for (const auto& [term, value] : terms) add("loss by role/" + role + "/" + term, value);
  add("train/source accuracy, percent", r.source_accuracy);
  add("train/gradient norm", r.gradient_norm);
  add("train/learning rate", r.learning_rate);
  if (r.seconds > 0) {
    add("speed/images a second", static_cast<double>(r.images) / r.seconds);
    add("speed/waiting for images, percent", 100 * r.wait_seconds / r.seconds);
  }
  return out;
}

RunRecord::RunRecord(const RunPaths& paths, const Config& config, const Trainer& trainer)
    : paths_(paths),
      train_(config.train),
      backend_(kernels::parse_device(config.device).backend),
      log_(paths.log(), trainer.step()),
      quantizers_(paths.quantizers(), trainer.step()) {
  if (train_.tensorboard) events_ = std::make_unique<EventFile>(paths.tensorboard(), trainer.step());
  append_session(session_start(trainer));
  next_report_ = next_flush_ = Clock::now();
  if (train_.report_every > 0)
    next_report_ += std::chrono::seconds(std::min<int64_t>(5, static_cast<int64_t>(train_.report_every)));
}

void RunRecord::append_session(const std::string& line) const {
  std::ofstream out(paths_.sessions(), std::ios::app);
  out << line << "\n";
  if (!out.flush())
    throw std::runtime_error("[log] cannot write " + paths_.sessions() + ": " + std::strerror(errno));
}

void RunRecord::add(const StepReport& report, Trainer& trainer) {
  log_.append(report);
  if (logs_quantizers(train_, report.step))
    quantizers_.append(quantizer_line(report.step, report.phase, trainer.student()));
  const Clock::time_point now = Clock::now();
  if (events_) {
    events_->append(wall_time(), report.step, tensorboard_scalars(report));
    if (now >= next_flush_) events_->flush(), next_flush_ = now + std::chrono::seconds(2);
  }
  if (train_.report_every > 0 && now >= next_report_) write_report();
}

void RunRecord::sync() {
  log_.sync();
  quantizers_.sync();
  if (events_) events_->flush();
}

void RunRecord::write_report() {
  const Clock::time_point start = Clock::now();
  try {
    report::write_running_report(paths_);
  } catch (const std::exception& error) {  // no reason to lose a training run
    report_problem_ = error.what();
    train_.report_every = 0;
    return;
  }
  const Clock::time_point end = Clock::now();
  const double pause = std::max(train_.report_every, seconds(end - start) / report_share);
  next_report_ = end + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(pause));
}

void RunRecord::end(const std::string& how, int64_t step) {
  if (events_) events_->flush();
  Json entry{{"event", "end"}, {"step", step}, {"date", utc_now()}, {"how", how}};
  entry["kernels"] = ops::used_implementations(backend_);
  append_session(print_json(entry));
  if (train_.report_every > 0) write_report();
}

}  // namespace rtfq
