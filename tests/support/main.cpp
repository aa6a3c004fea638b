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
  Catch::Session session;
  if (const int status = session.applyCommandLine(argc, argv)) return status;
  // A name that ctest has wrong, for instance cut at a semicolon, must not pass.
  session.configData().warnings =
      static_cast<Catch::WarnAbout::What>(session.configData().warnings | Catch::WarnAbout::NoTests);
  const int failures = session.run();
  if (failures == 0 && !rtfq::test::skipped.empty()) {
    std::printf("skipped: %s\n", rtfq::test::skipped.c_str());
    return 77;
  }
  return failures > 76 ? 76 : failures;
}
