#include "engine/ranks/monitor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace rtfq::ranks {
namespace {

constexpr auto heartbeat = std::chrono::milliseconds(500);
/// Seconds without looking, several times what it takes.
constexpr double asleep = 2;

enum class Kind : uint32_t { beat = 1, goodbye = 2, failed = 3, end = 4 };

/// Everything that goes over a control connection.
struct Message {
  Kind kind = Kind::beat;
  int32_t status = 1;  ///< to exit with
  uint64_t entered = 0;
  char text[1024] = {};

  Message() = default;
  Message(Kind kind_, uint64_t entered_, const std::string& text_ = {}, int status_ = 1)
      : kind(kind_), status(status_), entered(entered_) {
    std::memcpy(text, text_.data(), std::min(text_.size(), sizeof text - 1));
  }
  std::string said() const { return {text, ::strnlen(text, sizeof text)}; }
};

Clock::time_point in_seconds(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string seconds_text(double seconds) {
  return std::to_string(static_cast<int64_t>(seconds)) + " s";
}

double since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

}  // namespace

Monitor::Monitor(const Launch& launch, std::vector<Member> members, std::vector<Socket> control,
                 std::atomic<uint64_t>& entered)
    : rank_(launch.rank),
      ranks_(launch.ranks),
      members_(std::move(members)),
      control_(std::move(control)),
      entered_(entered),
      seen_(static_cast<std::size_t>(launch.ranks), Seen{0, Clock::now(), Clock::now(), false}),
      thread_([this] { serve(); }) {}

Monitor::~Monitor() {
  stopping_ = true;
  thread_.join();
}

void Monitor::set_advice(const std::string& text) {
  const std::lock_guard lock(mutex_);
  advice_ = text;
}

void Monitor::end_self(const std::string& why, int status) {
  std::fprintf(stderr, "rtfq: [ranks] rank %d: %s\n", rank_, why.c_str());
  std::fflush(nullptr);
  ::_exit(status);
}

void Monitor::end_all(const std::string& why, int status) {
  const std::lock_guard lock(mutex_);
  for (int rank = 1; rank < ranks_; ++rank)
    if (!seen_[static_cast<std::size_t>(rank)].gone)
      control_[static_cast<std::size_t>(rank)].send(Message(Kind::end, 0, why, status), in_seconds(1));
  std::fprintf(stderr, "rtfq: [ranks] the job ends: %s%s%s\n", why.c_str(),
               advice_.empty() ? "" : "\nrtfq: ", advice_.c_str());
  std::fflush(nullptr);
  ::_exit(status);
}

void Monitor::fail(const std::string& why, int status) {
  const std::string mine = members_[static_cast<std::size_t>(rank_)].shown(rank_) + ": " + why;
  if (rank_ == 0) end_all(mine, status);
  {
    const std::lock_guard lock(mutex_);
    if (!control_[0].send(Message(Kind::failed, entered_, mine, status), in_seconds(5)))
      end_self(why, status);
  }
  std::this_thread::sleep_for(std::chrono::seconds(5));  // rank 0 ends this process with all others
  end_self(why, status);
}

void Monitor::serve() {
  if (rank_ == 0)
    watch();
  else
    beat();
}

void Monitor::beat() {
  const Member& first = members_[0];
  for (;;) {
    const bool last = stopping_;
    {
      const std::lock_guard lock(mutex_);
      if (!control_[0].send(Message(last ? Kind::goodbye : Kind::beat, entered_), in_seconds(5)) && !last)
        end_self(first.shown(0) + " is gone");
    }
    if (last) return;
    pollfd waiting{control_[0].number(), POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(heartbeat.count())) <= 0) continue;
    Message message;
    if (!control_[0].receive(message, in_seconds(5))) {
      if (!stopping_) end_self(first.shown(0) + " is gone");
    } else if (message.kind == Kind::end) {
      end_self("the job ends: " + message.said(), message.status);
    } else if (message.kind == Kind::goodbye) {  // rank 0 is done, so that this rank must be nearly done too
      while (!stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

/// What a rank has to say; false when it has closed its connection without a goodbye.
bool Monitor::hear(int rank) {
  Seen& seen = seen_[static_cast<std::size_t>(rank)];
  Message message;
  if (!control_[static_cast<std::size_t>(rank)].receive(message, in_seconds(5))) return false;
  seen.heard = Clock::now();
  if (message.kind == Kind::failed) end_all(message.said(), message.status);
  if (message.kind == Kind::goodbye) seen.gone = true;
  if (message.entered != seen.entered) seen.entered = message.entered, seen.moved = Clock::now();
  return true;
}

/// Ends the job where a rank has been silent, or behind the others, for too long.
void Monitor::judge() {
  // A machine that slept, or a job that was stopped and goes on, is nobody's fault: the others have not been
  // heard because this thread did not listen.
  if (since(judged_) > asleep) {
    for (Seen& seen : seen_) seen.heard = seen.moved = Clock::now();
    most_since_ = Clock::now();
  }
  judged_ = Clock::now();
  Seen& own = seen_[0];
  if (own.entered != entered_) own.entered = entered_, own.moved = Clock::now();
  own.heard = Clock::now();
  for (const Seen& seen : seen_)
    if (seen.entered > most_) most_ = seen.entered, most_since_ = Clock::now();
  for (int rank = 0; rank < ranks_; ++rank) {
    const Seen& seen = seen_[static_cast<std::size_t>(rank)];
    if (seen.gone) continue;
    const std::string who = members_[static_cast<std::size_t>(rank)].shown(rank);
    if (since(seen.heard) > patience())
      end_all(who + " has not answered for " + seconds_text(since(seen.heard)));
    // The others wait in a sum that this one has not come to.
    const double awaited = std::min(since(seen.moved), since(most_since_));
    if (seen.entered < most_ && awaited > patience())
      end_all(who + " has not come to a sum in which others have been waiting for it for " +
              seconds_text(awaited));
  }
}

void Monitor::watch() {
  std::vector<pollfd> waiting;
  for (bool told = false;;) {
    const bool all_gone = std::all_of(seen_.begin() + 1, seen_.end(), [](const Seen& s) { return s.gone; });
    if (stopping_ && all_gone) return;
    if (stopping_ && !told) {
      for (int rank = 1; rank < ranks_; ++rank)
        if (!seen_[static_cast<std::size_t>(rank)].gone)
          control_[static_cast<std::size_t>(rank)].send(Message(Kind::goodbye, 0), in_seconds(1));
      told = true;
    }
    waiting.clear();
    for (int rank = 1; rank < ranks_; ++rank) {
      const bool gone = seen_[static_cast<std::size_t>(rank)].gone;
      waiting.push_back({gone ? -1 : control_[static_cast<std::size_t>(rank)].number(), POLLIN, 0});
    }
    if (::poll(waiting.data(), waiting.size(), stopping_ ? 20 : static_cast<int>(heartbeat.count())) > 0)
      for (int rank = 1; rank < ranks_; ++rank)
        if (waiting[static_cast<std::size_t>(rank - 1)].revents && !hear(rank))
          end_all(members_[static_cast<std::size_t>(rank)].shown(rank) + " died");
    judge();
  }
}

}  // namespace rtfq::ranks
