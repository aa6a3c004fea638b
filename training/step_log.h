#pragma once
// What a run writes down while it trains, as lines of JSON in order of steps, without repetitions even when
// it was stopped between two checkpoints: RUN/log.jsonl (every step) and RUN/quantizers.jsonl (every so
// many).

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "training/trainer.h"

namespace rtfq {

/// {"step","phase","loss","terms":{..},"roles":{ROLE:{..}},"source_accuracy","gradient_norm","learning_rate",
/// "seconds","wait_seconds","images"}, one line; with several ranks also "exchanged_bytes",
/// "exchange_seconds" (waiting for sums) and "overlapped_seconds" (sums beside the computation).
std::string log_line(const StepReport&);

/// {"step","phase","weights":{QUANTIZER:{BITS:step size}},"activations":{..}}, one line: the mean over a
/// quantizer's rows; step sizes that no pass has set yet are left out.
std::string quantizer_line(int64_t step, const std::string& phase, const Supernet&);
/// Whether quantizers.jsonl gets an entry after step `step`: every train.log_steps_every steps, after the
/// first and the last of a phase in which there are quantizers.
bool logs_quantizers(const TrainConfig&, int64_t step);

/// A file of JSON objects that have a "step", one a line.
class StepLines {
 public:
  /// Continues the file after `step`: later entries, and one that was cut off while it was written, are
  /// removed. Throws std::runtime_error naming the file.
  StepLines(const std::string& path, int64_t step);
  /// `line` ends without a newline; it is in the hands of the system when this returns.
  void append(const std::string& line);
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

class StepLog : public StepLines {
 public:
  using StepLines::StepLines;
  void append(const StepReport& report) { StepLines::append(log_line(report)); }
};

}  // namespace rtfq
