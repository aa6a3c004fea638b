#define CATCH_CONFIG_RUNNER
#include "tests/support/skip.h"

#include <catch2/catch.hpp>

namespace rtfq::test {
namespace {
std::string skipped;
}

void skip(const std::string& reason) { skipped = reason; }

}  // namespace rtfq::test

int main(int argc, char** argv) {
  const int failures = Catch::Session().run(argc, argv);
  if (failures == 0 && !rtfq::test::skipped.empty()) {
    std::printf("skipped: %s\n", rtfq::test::skipped.c_str());
    return 77;
  }
  return failures > 76 ? 76 : failures;
}
