#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <stdexcept>

#include "tools/deploy/session.h"

namespace rtfq::deploy {
namespace {

[[noreturn]] void cannot_open(const std::string& path, const std::string& why) {
  throw std::runtime_error("[model] cannot open " + path + ": " + why);
}

/// The file's bytes and what unmaps them.
std::pair<std::shared_ptr<const void>, packed::Bytes> map_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) cannot_open(path, std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  if (!known || !S_ISREG(status.st_mode) || status.st_size == 0) {
    const std::string why = !known                     ? std::strerror(errno)
                            : !S_ISREG(status.st_mode) ? "it is not a regular file"
                                                       : "it is empty";
    ::close(descriptor);
    cannot_open(path, why);
  }
  const auto bytes = static_cast<std::size_t>(status.st_size);
  void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const std::string why = std::strerror(errno);
  ::close(descriptor);
  if (memory == MAP_FAILED) cannot_open(path, why);
  return {
      std::shared_ptr<const void>(memory, [bytes](const void* p) { ::munmap(const_cast<void*>(p), bytes); }),
      {static_cast<const unsigned char*>(memory), bytes}};
}

bool within(double cost, const std::optional<double>& limit) {
  return !limit || cost <= *limit;
}

}  // namespace

LoadedModel::LoadedModel(std::shared_ptr<const void> owner, packed::Bytes file)
    : owner_(std::move(owner)), file_(file), model_(std::make_unique<packed::Model>(file)) {}

std::shared_ptr<LoadedModel> LoadedModel::from_file(const std::string& path) {
  auto [owner, bytes] = map_file(path);
  try {
    return std::shared_ptr<LoadedModel>(new LoadedModel(std::move(owner), bytes));
  } catch (const packed::FormatError& error) {
    cannot_open(path, error.what());
  }
}

std::shared_ptr<LoadedModel> LoadedModel::from_bytes(std::vector<unsigned char> bytes) {
  const auto owner = std::make_shared<const std::vector<unsigned char>>(std::move(bytes));
  return std::shared_ptr<LoadedModel>(new LoadedModel(owner, *owner));
}

void LoadedModel::set_latency(std::size_t subnet, double milliseconds) {
  const std::lock_guard lock(mutex_);
  latencies_[subnet] = milliseconds;
}

std::optional<double> LoadedModel::latency(std::size_t subnet) const {
  const std::lock_guard lock(mutex_);
  const auto found = latencies_.find(subnet);
  if (found == latencies_.end()) return {};
  return found->second;
}

bool is_packed_model(const std::string& path) {
  char start[5] = {};
  std::ifstream file(path, std::ios::binary);
  return file.read(start, 5) && std::memcmp(start, "\x89RTFQ", 5) == 0;
}

std::vector<std::size_t> candidates(const LoadedModel& loaded, const Limits& limits,
                                    const std::string& criterion) {
  const packed::Model& model = loaded.model();
  std::string by = criterion, known;
  for (const packed::Criterion& c : model.criteria()) known += (known.empty() ? "" : ", ") + c.name;
  if (by.empty() && !model.criteria().empty()) by = model.criteria().front().name;
  if (!criterion.empty() && std::none_of(model.criteria().begin(), model.criteria().end(),
                                         [&](const packed::Criterion& c) { return c.name == criterion; }))
    throw std::invalid_argument("[select] the file has no scores by '" + criterion + "'" +
                                (known.empty() ? ": it was packed without any" : "; it has " + known));
  const auto score = [&](std::size_t i) {
    const packed::SubnetEntry& entry = model.subnets()[i];
    const auto found = entry.scores.find(by);
    return found == entry.scores.end() ? -std::numeric_limits<double>::infinity() : found->second;
  };
  std::vector<std::size_t> fitting;
  for (std::size_t i = 0; i < model.subnets().size(); ++i) {
    const SubnetCost& cost = model.subnets()[i].cost;
    if (within(static_cast<double>(cost.macs), limits.macs) &&
        within(static_cast<double>(cost.bitops), limits.bitops) &&
        within(static_cast<double>(cost.bytes), limits.bytes) &&
        within(static_cast<double>(cost.memory), limits.memory))
      fitting.push_back(i);
  }
  const bool scored = !by.empty();
  std::stable_sort(fitting.begin(), fitting.end(), [&](std::size_t a, std::size_t b) {
    const int64_t work_a = model.subnets()[a].cost.bitops, work_b = model.subnets()[b].cost.bitops;
    if (!scored) return work_a > work_b;
    return score(a) != score(b) ? score(a) > score(b) : work_a < work_b;
  });
  return fitting;
}

std::optional<std::size_t> select(const LoadedModel& loaded, const Limits& limits,
                                  const std::string& criterion) {
  bool measured = false;
  for (std::size_t i = 0; limits.latency_ms && i < loaded.model().subnets().size(); ++i)
    measured |= loaded.latency(i).has_value();
  if (limits.latency_ms && !measured)
    throw std::runtime_error("[select] no subnet's latency was measured on this machine yet");
  for (const std::size_t i : candidates(loaded, limits, criterion)) {
    const auto latency = loaded.latency(i);
    if (!limits.latency_ms || (latency && *latency <= *limits.latency_ms)) return i;
  }
  return {};
}

}  // namespace rtfq::deploy
