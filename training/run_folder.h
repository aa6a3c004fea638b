#pragma once
// The folder of a run: which files it holds, and who may write to it.

#include <string>
#include <vector>

#include "training/config.h"

namespace rtfq {

/// Paths inside a run folder.
struct RunPaths {
  std::string folder;
  std::string config() const { return folder + "/config.jsonc"; }
  std::string checkpoint() const { return folder + "/checkpoint.safetensors"; }
  std::string previous() const { return folder + "/checkpoint.previous.safetensors"; }  ///< the one before
  std::string damaged() const { return folder + "/checkpoint.damaged.safetensors"; }
  std::string log() const { return folder + "/log.jsonl"; }
  std::string quantizers() const { return folder + "/quantizers.jsonl"; }
  std::string sessions() const { return folder + "/sessions.jsonl"; }
  std::string tensorboard() const { return folder + "/tensorboard"; }
  std::string report() const { return folder + "/report.html"; }
  std::string subnets() const { return folder + "/subnets.json"; }
};

/// A run folder, or a checkpoint inside or outside of one. Throws std::invalid_argument saying what is there
/// instead of a run, or how far a run without a checkpoint got.
struct FoundRun {
  RunPaths paths;          ///< of the checkpoint's folder
  std::string checkpoint;  ///< an existing file
};
FoundRun find_run(const std::string& run_or_checkpoint);

/// A run folder open for training; no other process can open it at the same time. The file .lock in it is
/// locked (flock) and names its holder; the lock of a process that died is taken over.
class RunFolder {
 public:
  /// Makes the folder where it is missing, and removes what writes that were cut off have left. Throws
  /// std::invalid_argument when it holds a run and `resume` is false, when it holds other things, or when
  /// another process trains there; std::runtime_error when it cannot be made.
  RunFolder(const std::string& folder, bool resume);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const RunPaths& paths() const { return paths_; }
  bool has_checkpoint() const;
  /// Who held the lock and died without giving it back; empty: nobody.
  const std::string& died() const { return died_; }
  /// The last checkpoint cannot be read: sets it aside as damaged() and puts the one before in its place.
  /// False where there is none before.
  bool fall_back() const;
  void write_config(const Config&) const;

 private:
  void lock();
  void clean() const;

  RunPaths paths_;
  int lock_ = -1;
  std::string died_;
};

/// Keys in which two configurations compute different things: not where the data lie, threads, cache, how
/// often a checkpoint is written.
std::vector<std::string> differing_settings(const Config&, const Config&);

/// Refuses to go on with a run under other settings: throws std::invalid_argument naming the keys in which
/// `now` differs from what the run was started with, except those that do not change what is computed (where
/// the data lie, threads, cache, how often a checkpoint is written).
void require_same_run(const Config& started, const Config& now);

}  // namespace rtfq
