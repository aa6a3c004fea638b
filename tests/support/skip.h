#pragma once
#include <string>

namespace rtfq::test {

/// Marks the running test case as skipped: ctest counts it as such, with `reason` in its output. The case
/// should return right after the call. One case a process, which is how ctest runs them.
void skip(const std::string& reason);

}  // namespace rtfq::test
