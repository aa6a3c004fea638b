#pragma once
// Leaving a long computation early: a tape asks between operations whether it should.

#include <stdexcept>

namespace rtfq {

/// Thrown by a tape inside of a CancellationScope.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("[engine] cancelled between two operations") {}
};

/// Who is asked; process-wide. It is called between any two operations, so it has to be quick. nullptr:
/// nobody.
void set_cancellation(bool (*asked)());

/// While one lives, in the thread that made it, tapes ask. Whoever makes one can undo what a computation has
/// changed when it is left in the middle.
class CancellationScope {
 public:
  explicit CancellationScope(bool active = true);
  ~CancellationScope();
  CancellationScope(const CancellationScope&) = delete;
  CancellationScope& operator=(const CancellationScope&) = delete;

 private:
  bool before_;
};

/// Throws Cancelled where the thread is in a scope and whoever is asked says so.
void check_cancelled();

}  // namespace rtfq
