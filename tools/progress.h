#pragma once
// How far a long command is: one line that is drawn anew on a terminal, plain lines elsewhere. All on stderr.

#include <chrono>
#include <cstdint>
#include <string>

#include "training/trainer.h"

namespace rtfq::cli {

bool stderr_is_terminal();

/// "1h02m", "4m07s", "9s".
std::string duration(double seconds);
/// Seconds of "2h", "90m", "1h30m", "45s"; throws std::invalid_argument for anything else.
double parse_duration(const std::string&);

/// Of a training run: losses and accuracy are running means over about 20 steps.
class TrainingProgress {
 public:
  /// `every`: steps between plain lines; 0 chooses about 40 lines for the run.
  TrainingProgress(const Config&, int64_t every);
  void show(const StepReport&);
  /// Ends the drawn line, so that something else can be printed.
  void leave();

 private:
  double remaining_seconds(int64_t step) const;
  std::string figures(const StepReport&, double rate) const;

  TrainConfig train_;
  int64_t every_;
  bool terminal_, drawn_ = false;
  std::string phase_;
  double loss_ = 0, accuracy_ = 0, seconds_ = 0, images_ = 0, weight_ = 0;
  int64_t in_phase_ = 0;
  std::chrono::steady_clock::time_point last_drawn_{};
};

/// Of a number of equal pieces of work, such as subnets: call it as the Progress of evaluate and calibrate.
class CountProgress {
 public:
  explicit CountProgress(std::string what);
  void operator()(int64_t done, int64_t total);

 private:
  std::string what_;
  bool terminal_;
  int64_t next_ = 1;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace rtfq::cli
