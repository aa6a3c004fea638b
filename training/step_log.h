#pragma once
// RUN/log.jsonl: one JSON object a training step, in order, without gaps or repetitions even when a run was
// stopped between two checkpoints.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "training/trainer.h"

namespace rtfq {

/// {"step","phase","loss","terms":{..},"source_accuracy","learning_rate","seconds","wait_seconds","images"},
/// one line.
std::string log_line(const StepReport&);

class StepLog {
 public:
  /// Continues the log after `step`: later entries, and one that was cut off while it was written, are
  /// removed. Throws std::runtime_error naming the file.
  StepLog(const std::string& path, int64_t step);
  /// The line is in the hands of the system when this returns.
  void append(const StepReport&);
  /// On the disk, before a checkpoint that counts on it.
  void sync();
  /// The last step that the log held when it was opened, after the removal; 0 when it was empty.
  int64_t last_step() const { return last_step_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t last_step_ = 0;
};

}  // namespace rtfq
