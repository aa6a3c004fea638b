#pragma once
// The SandwichQ trainer: one object whose state is entirely in its checkpoint.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "training/config.h"
#include "training/evaluation.h"
#include "training/step.h"

namespace rtfq {

/// What one step did. Loss terms are averages over the passes that had them, without their weights.
struct StepReport {
  int64_t step = 0;   ///< steps finished, so 1 after the first
  std::string phase;  ///< "float", "source" or "adapt"
  double loss = 0;    ///< sum of all weighted terms over all passes
  std::vector<std::pair<std::string, double>> terms;
  std::map<std::string, std::map<std::string, double>> roles;  ///< StepResult::roles
  double source_accuracy = 0;  ///< of the largest subnet on this step's source batch, in percent
  double gradient_norm = 0;    ///< before clipping, step sizes left out
  double learning_rate = 0;
  double seconds = 0;
  double wait_seconds = 0;        ///< of these, waiting for images
  int64_t images = 0;             ///< of all ranks
  int64_t exchanged_bytes = 0;    ///< that this rank sent to others; 0 with one rank
  double exchange_seconds = 0;    ///< of `seconds`, waiting for sums over ranks
  double overlapped_seconds = 0;  ///< that sums took beside the computation
};

class Trainer {
 public:
  /// Opens the data sets and initialises the network. Throws std::invalid_argument or std::runtime_error with
  /// a message for people.
  explicit Trainer(const Config&);
  /// Continues from a checkpoint: the rest of the run has the same bits as if it had not stopped. `overrides`
  /// are not possible here: the configuration is the checkpoint's, but data locations, thread counts and the
  /// device are taken from `config` when given. The same bits need the same device.
  static std::unique_ptr<Trainer> resume(const std::string& checkpoint, const Config* config = nullptr);
  ~Trainer();

  const Config& config() const;
  int64_t step() const;   ///< finished steps
  bool finished() const;  ///< all steps done
  /// One optimizer step. Throws NonFiniteLoss, after which only resume() goes on. Where it may be cancelled
  /// (engine/cancellation.h; steps that take long, one rank) throws Cancelled and is as before the step.
  StepReport train_step();
  /// Halves the learning rate of all steps to come, in checkpoints too. Returns the factor that is now on it.
  double slow_down();
  double rate_factor() const;
  /// Norm statistics of every subnet of the bank, source and target, from stored weights; the last thing
  /// training does.
  void calibrate(const Progress& progress = {});
  /// Everything that decides the future, in one safetensors file, written atomically. The file that was there
  /// stays as `previous` unless that is empty.
  void save(const std::string& checkpoint, const std::string& previous = {}) const;
  Supernet& student();
  /// Passes that were launched as graphs.
  int64_t graph_launches() const;
  /// What the run started from, as training/start.h records it; empty: random weights.
  const std::string& pretrained() const;
  /// The same in full, for people, of a trainer that has just read it.
  const std::string& start_report() const { return start_report_; }
  /// Images to train on and classes; the target's are 0 where there is none.
  int64_t source_images() const;
  int64_t target_images() const;
  int64_t classes() const;

 private:
  struct State;
  explicit Trainer(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
  std::string start_report_;
};

/// A checkpoint without its training state: what evaluation needs.
struct TrainedBank {
  Config config;
  std::unique_ptr<Supernet> network;
  std::vector<std::string> classes;
  int64_t step = 0;
  bool finished = false;
  std::string pretrained = {};  ///< record_of what training started from; empty: random weights
};
/// Reads the network from a run's checkpoint, for `device`, wherever it was trained: the result's
/// config.device. Throws std::runtime_error when it is missing or damaged, or the device is not there.
TrainedBank load_bank(const std::string& checkpoint, const std::string& device = "cpu");
/// Writes a network that no training will go on with; atomically.
void save_network(const std::string& checkpoint, const TrainedBank&);
/// The averaged teacher of a checkpoint; nullptr where adaptation has not begun or there is none. Throws as
/// load_bank does.
std::unique_ptr<Supernet> load_teacher(const std::string& checkpoint, const std::string& device = "cpu");
/// Rewrites only the norm statistics of a checkpoint (after calibrate), atomically.
void save_bank(const std::string& checkpoint, TrainedBank&);

}  // namespace rtfq
