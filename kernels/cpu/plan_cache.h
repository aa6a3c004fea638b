#pragma once
// Plans: what a library call needs besides data (primitives, the layouts and scratch sizes they chose). They
// are kept by shape because creating one may take seconds.
//
// A plan bakes a number of threads in: it decides how weights are laid out and how much scratch a launch
// needs. So that packed weights and workspaces stay valid whatever thread uses them and whatever
// set_threads() does later, all plans of a process are made for one number: OpenMP's maximum when the first
// plan is made. Call set_threads() before that.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace rtfq::kernels {

/// That number. What shares a workspace out among threads makes as many parts of it.
int plan_threads();

/// While it lives, OpenMP's maximum on this thread is the process's number of plan threads.
class PlanThreads {
 public:
  PlanThreads();
  ~PlanThreads();
  PlanThreads(const PlanThreads&) = delete;
  PlanThreads& operator=(const PlanThreads&) = delete;

 private:
  int before_;
};

/// Everything a plan depends on, unused places 0.
using PlanKey = std::array<int64_t, 12>;

/// Plans by shape, for any number of threads. When more than `capacity` shapes are in use the one unused for
/// longest goes (jitted code takes some 100 KiB a plan); launches that still run keep theirs alive.
template <class Plan>
class PlanCache {
 public:
  explicit PlanCache(std::size_t capacity = 4096) : capacity_(capacity) {}

  /// The plan for `key`, made by `make()` (returning a Plan) if it is not there.
  template <class Make>
  std::shared_ptr<const Plan> get(const PlanKey& key, const Make& make) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = plans_.find(key);
      if (found != plans_.end()) {
        found->second.used = ++clock_;
        return found->second.plan;
      }
    }
    // Made outside the lock: others need not wait for it. Two threads may make the same one; the first stays.
    std::shared_ptr<const Plan> plan;
    {
      const PlanThreads threads;
      plan = std::make_shared<const Plan>(make());
    }
    const std::lock_guard lock(mutex_);
    const auto [entry, inserted] = plans_.try_emplace(key, Entry{std::move(plan), 0});
    entry->second.used = ++clock_;
    auto result = entry->second.plan;
    if (plans_.size() > capacity_) {
      auto oldest = plans_.begin();
      for (auto i = plans_.begin(); i != plans_.end(); ++i)
        if (i->second.used < oldest->second.used) oldest = i;
      plans_.erase(oldest);
    }
    return result;
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return plans_.size();
  }

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    uint64_t used;
  };
  std::size_t capacity_;
  mutable std::mutex mutex_;
  std::map<PlanKey, Entry> plans_;
  uint64_t clock_ = 0;
};

}  // namespace rtfq::kernels
