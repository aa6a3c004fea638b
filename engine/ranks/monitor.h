#pragma once
// A thread beside the computation that notices ranks that die or hang, and then ends every process of the job
// with a message that names the one to blame. A collective operation alone would wait forever.

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "engine/ranks/meeting.h"

namespace rtfq::ranks {

class Monitor {
 public:
  /// Takes over the control connections. `entered`: the sums that this rank has gone into.
  Monitor(const Launch&, std::vector<Member>, std::vector<Socket> control, std::atomic<uint64_t>& entered);
  /// Says goodbye: this rank is done and will not be missed. Rank 0 waits for the goodbyes of the others.
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// Tells the others why this rank has to give up, and ends the process; all exit with `status`.
  [[noreturn]] void fail(const std::string& why, int status = 1);
  /// What rank 0 prints when the job ends this way: how to go on.
  void set_advice(const std::string& text);

 private:
  struct Seen {
    uint64_t entered = 0;
    Clock::time_point heard, moved;  ///< when it last said anything, when its count last rose
    bool gone = false;               ///< after its goodbye
  };
  void serve();
  void watch();  ///< of rank 0
  void beat();   ///< of the others
  bool hear(int rank);
  void judge();
  [[noreturn]] void end_all(const std::string& why, int status = 1);
  [[noreturn]] void end_self(const std::string& why, int status = 1);

  const int rank_, ranks_;
  const std::vector<Member> members_;
  const std::vector<Socket> control_;
  std::atomic<uint64_t>& entered_;
  std::vector<Seen> seen_;
  uint64_t most_ = 0;  ///< sums that the first rank has gone into, and since when
  Clock::time_point most_since_ = Clock::now(), judged_ = Clock::now();
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  ///< of advice_ and of sending
  std::string advice_;
  std::thread thread_;
};

}  // namespace rtfq::ranks
