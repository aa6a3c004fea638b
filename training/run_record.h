#pragma once
// What a training run writes beside its checkpoint: log.jsonl, quantizers.jsonl, sessions.jsonl,
// TensorBoard's event files and report.html. Continues all of them when a run is resumed.

#include <chrono>
#include <cstdint>
#include <memory>

#include "training/run_folder.h"
#include "training/step_log.h"
#include "training/tensorboard.h"

namespace rtfq {

/// The scalars of log.jsonl under TensorBoard's tags: "loss/total", "loss/TERM", "loss by role/ROLE/TERM",
/// "train/...", "speed/...".
Scalars tensorboard_scalars(const StepReport&);

class RunRecord {
 public:
  /// Continues after the trainer's step. `config`: the one of this session, whose keys on logging may differ
  /// from those that the run was started with.
  RunRecord(const RunPaths&, const Config& config, const Trainer&);

  /// After every step.
  void add(const StepReport&, Trainer&);
  /// On the disk, before a checkpoint that counts on it.
  void sync();
  /// The session's end, `how`: "finished", "interrupted" or "failed". Writes the report a last time.
  void end(const std::string& how, int64_t step);
  /// The last step that log.jsonl held when it was opened; 0: none.
  int64_t last_step() const { return log_.last_step(); }
  /// Why no more reports are written; empty while all is well.
  const std::string& report_problem() const { return report_problem_; }

 private:
  using Clock = std::chrono::steady_clock;
  void append_session(const std::string& line) const;
  void write_report();

  RunPaths paths_;
  TrainConfig train_;
  kernels::Backend backend_;
  StepLog log_;
  StepLines quantizers_;
  std::unique_ptr<EventFile> events_;
  Clock::time_point next_report_, next_flush_;
  std::string report_problem_;
};

}  // namespace rtfq
