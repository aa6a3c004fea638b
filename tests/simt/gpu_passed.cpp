// Kernels that only a GPU can vouch for are not chosen by default before one has.
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "kernels/conv2d.h"

using namespace rtfq::kernels;

namespace {

/// Whether something stands before the implementation that takes every shape, so that `choose` can find it.
template <class Op>
bool can_be_chosen(const std::string& prefix) {
  for (const auto& implementation : Op::simt()) {
    const std::string name = implementation.name;
    if (name == "naive") return false;
    if (name.rfind(prefix, 0) == 0) return true;
  }
  FAIL("no plain implementation in the list of " << Op::name);
  return false;
}

}  // namespace

TEST_CASE("gpu-passed: wgmma is chosen only in a form that a GPU has passed") {
  const int status = std::system(RTFQ_SOURCE_DIR "/tools/gpu_passed");
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) <= 1);
  const bool chosen = can_be_chosen<Conv2dForward>("wgmma") || can_be_chosen<Conv2dDgrad>("wgmma") ||
                      can_be_chosen<Conv2dWgrad>("wgmma");
  INFO("tools/gpu_passed names the sources; after a GPU has passed them, tools/gpu_passed --record CARD");
  CHECK((WEXITSTATUS(status) == 0 || !chosen));
}
