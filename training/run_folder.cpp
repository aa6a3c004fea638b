#include "training/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "engine/atomic_file.h"
#include "training/config_schema.h"
#include "training/environment.h"

namespace rtfq {
namespace fs = std::filesystem;
namespace {

constexpr const char* lock_name = ".lock";

/// Whatever is in the folder besides the lock and files that never were complete: the name of one entry, or
/// nothing.
std::string any_entry(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name != lock_name && !is_temporary_name(name)) return name;
  }
  return {};
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

/// What a lock says of its holder.
struct Holder {
  std::string host;
  int64_t process = 0;
  std::string since;

  std::string text() const { return host + " " + std::to_string(process) + " " + since + "\n"; }
  std::string shown() const {
    return "process " + std::to_string(process) + " on " + host + ", since " + since;
  }
  bool here() const { return host == host_name(); }
};

std::optional<Holder> read_holder(int lock) {
  char buffer[512];
  const ssize_t size = ::pread(lock, buffer, sizeof buffer, 0);
  std::istringstream in(size > 0 ? std::string(buffer, static_cast<std::size_t>(size)) : std::string());
  Holder holder;
  if (!(in >> holder.host >> holder.process >> holder.since) || holder.process <= 0) return std::nullopt;
  return holder;
}

bool holds_run(const RunPaths& paths) {
  return fs::exists(paths.checkpoint()) || fs::exists(paths.previous()) || fs::exists(paths.config());
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
  for (const std::string& checkpoint : {paths.checkpoint(), paths.previous()})
    if (fs::exists(checkpoint)) return {paths, checkpoint};
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
  lock();
  clean();
}

void RunFolder::lock() {
  const std::string path = paths_.folder + "/" + lock_name;
  lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0)
    throw std::runtime_error("[train] cannot write to " + paths_.folder + ": " + std::strerror(errno));
  const auto taken = [&](const std::optional<Holder>& holder, const std::string& more) {
    ::close(lock_);
    throw std::invalid_argument("[train] another process is training in " + paths_.folder +
                                (holder ? " (" + holder->shown() + ")" : "") +
                                ": wait for it or choose another --out" + more);
  };
  const bool locked = ::flock(lock_, LOCK_EX | LOCK_NB) == 0;
  const int reason = errno;
  const std::optional<Holder> holder = read_holder(lock_);
  if (!locked && reason == EWOULDBLOCK) taken(holder, "");
  // A file system without locks: what the file says has to do.
  if (!locked && holder) {
    if (!holder->here()) taken(holder, ", or remove " + path + " if it is gone");
    if (::kill(static_cast<pid_t>(holder->process), 0) == 0 || errno == EPERM) taken(holder, "");
  }
  if (holder) died_ = holder->shown();
  const std::string mine = Holder{host_name(), ::getpid(), utc_now()}.text();
  // On a full disk the lock is held all the same, without a name.
  if (::ftruncate(lock_, 0) == 0 && ::pwrite(lock_, mine.data(), mine.size(), 0) < 0) died_.clear();
}

void RunFolder::clean() const {
  for (const auto& entry : fs::directory_iterator(paths_.folder))
    if (is_temporary_name(entry.path().filename())) {
      std::error_code error;
      fs::remove(entry.path(), error);
    }
}

RunFolder::~RunFolder() {
  if (::ftruncate(lock_, 0) != 0) died_.clear();  // the next one finds our name and says that we died
  ::close(lock_);
}

bool RunFolder::fall_back() const {
  if (!fs::exists(paths_.previous())) return false;
  if (fs::exists(paths_.checkpoint())) fs::rename(paths_.checkpoint(), paths_.damaged());
  fs::rename(paths_.previous(), paths_.checkpoint());
  return true;
}

bool RunFolder::has_checkpoint() const {
  return fs::exists(paths_.checkpoint()) || fs::exists(paths_.previous());
}

void RunFolder::write_config(const Config& config) const {
  write_file_atomically(paths_.config(), commented(config));
}

std::vector<std::string> differing_settings(const Config& a, const Config& b) {
  static const std::array<std::string, 16> free_to_change{"data.source",
                                                          "data.target",
                                                          "data.threads",
                                                          "data.cache_mib",
                                                          "data.cache_dir",
                                                          "data.evaluation",
                                                          "data.outside_paths",
                                                          "threads",
                                                          "device",
                                                          "train.max_loss",
                                                          "train.on_divergence",
                                                          "train.checkpoint_every",
                                                          "train.log_steps_every",
                                                          "train.report_every",
                                                          "train.overlap",
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
