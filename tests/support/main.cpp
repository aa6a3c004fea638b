#define CATCH_CONFIG_RUNNER
#include "tests/support/skip.h"

#include <catch2/catch.hpp>

namespace rtfq::test {
namespace {
std::string skipped;
}

void skip(const std::string& reason) { skipped = reason; }

}  // namespace rtfq::test

// Tests ask for more memory than there is and want the null pointer that a plain build gets, not an abort.
#ifdef __SANITIZE_ADDRESS__
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

int main(int argc, char** argv) {
  const int failures = Catch::Session().run(argc, argv);
  if (failures == 0 && !rtfq::test::skipped.empty()) {
    std::printf("skipped: %s\n", rtfq::test::skipped.c_str());
    return 77;
  }
  return failures > 76 ? 76 : failures;
}
