#include "engine/cancellation.h"

#include <atomic>

namespace rtfq {
namespace {

std::atomic<bool (*)()> who{nullptr};
thread_local bool in_scope = false;

}  // namespace

void set_cancellation(bool (*asked)()) {
  who = asked;
}

CancellationScope::CancellationScope(bool active) : before_(in_scope) {
  in_scope = active;
}
CancellationScope::~CancellationScope() {
  in_scope = before_;
}

void check_cancelled() {
  if (!in_scope) return;
  const auto asked = who.load();
  if (asked && asked()) throw Cancelled();
}

}  // namespace rtfq
