#include "kernels/tf32.h"

#include <atomic>

namespace rtfq::kernels {
namespace {

std::atomic<bool> allowed{false};

}  // namespace

void allow_tf32(bool yes) {
  allowed = yes;
}

bool tf32_allowed() {
  return allowed;
}

}  // namespace rtfq::kernels
