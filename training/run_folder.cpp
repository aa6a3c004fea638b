#include "training/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "engine/safetensors.h"
#include "training/config_schema.h"

namespace rtfq {
namespace fs = std::filesystem;
namespace {

constexpr const char* lock_name = ".lock";

/// Whatever is in the folder besides the lock: the name of one entry, or nothing.
std::string any_entry(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename() != lock_name) return entry.path().filename();
  return {};
}

bool holds_run(const RunPaths& paths) {
  return fs::exists(paths.checkpoint()) || fs::exists(paths.config());
}

}  // namespace

FoundRun find_run(const std::string& run_or_checkpoint) {
  const fs::path path = run_or_checkpoint;
  if (!fs::exists(path))
    throw std::invalid_argument("[run] there is no " + run_or_checkpoint +
                                ": give the folder that `rtfq train --out` wrote");
  if (!fs::is_directory(path)) {
    const fs::path folder = path.parent_path();
    return {{folder.empty() ? "." : folder.string()}, run_or_checkpoint};
  }
  const RunPaths paths{run_or_checkpoint};
  if (fs::exists(paths.checkpoint())) return {paths, paths.checkpoint()};
  if (holds_run(paths))
    throw std::invalid_argument(
        "[run] " + run_or_checkpoint +
        " was started but has no checkpoint yet: let `rtfq train ... --resume` go on");
  throw std::invalid_argument(
      "[run] " + run_or_checkpoint +
      " is not a run: it holds no checkpoint.safetensors; `rtfq train --out` writes one");
}

RunFolder::RunFolder(const std::string& folder, bool resume) : paths_{folder} {
  if (fs::exists(folder) && !fs::is_directory(folder))
    throw std::invalid_argument("[train] --out " + folder + " is a file: name a folder");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw std::runtime_error("[train] cannot make the folder " + folder + ": " + error.message());
  const std::string other = any_entry(folder);
  if (!other.empty() && !holds_run(paths_))
    throw std::invalid_argument("[train] " + folder + " holds '" + other +
                                "' but no run: choose an empty or new folder for --out");
  if (!other.empty() && !resume)
    throw std::invalid_argument(
        "[train] " + folder + " already holds a run: add --resume to go on with it, or choose another --out");
  lock_ = ::open((folder + "/" + lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw std::runtime_error("[train] cannot write to " + folder + ": " + std::strerror(errno));
  if (::flock(lock_, LOCK_EX | LOCK_NB)) {
    ::close(lock_);
    throw std::invalid_argument("[train] another process is training in " + folder +
                                ": wait for it or choose another --out");
  }
}

RunFolder::~RunFolder() {
  ::close(lock_);
}

bool RunFolder::has_checkpoint() const {
  return fs::exists(paths_.checkpoint());
}

void RunFolder::write_config(const Config& config) const {
  write_file_atomically(paths_.config(), commented(config));
}

std::vector<std::string> differing_settings(const Config& a, const Config& b) {
  static const std::array<std::string, 12> free_to_change{"data.source",
                                                          "data.target",
                                                          "data.threads",
                                                          "data.cache_mib",
                                                          "data.cache_dir",
                                                          "data.evaluation",
                                                          "threads",
                                                          "device",
                                                          "train.checkpoint_every",
                                                          "train.log_steps_every",
                                                          "train.report_every",
                                                          "train.tensorboard"};
  std::vector<std::string> keys = schema::differing_keys(a, b);
  std::erase_if(keys, [](const std::string& key) {
    return std::find(free_to_change.begin(), free_to_change.end(), key) != free_to_change.end();
  });
  return keys;
}

void require_same_run(const Config& started, const Config& now) {
  std::string differing;
  for (const std::string& key : differing_settings(started, now))
    differing += (differing.empty() ? "" : ", ") + key;
  if (!differing.empty())
    throw std::invalid_argument("[train] the run was started with other values of " + differing +
                                ": a resumed run keeps its settings; give those or choose another --out");
}

}  // namespace rtfq
