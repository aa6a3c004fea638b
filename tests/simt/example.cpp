// The example of docs/simt.md, as the process a reader would run.
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

namespace {

int run(const std::string& arguments, std::string& output) {
  FILE* pipe = popen((std::string("'") + RTFQ_EXAMPLE + "' " + arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  output.clear();
  for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  return pclose(pipe);
}

}  // namespace

TEST_CASE("example: the right kernel passes, the one without its barrier is caught with a seed") {
  std::string output;
  CHECK(run("", output) == 0);
  CHECK(output == "right under 200 schedules\n");
  CHECK(run("broken", output) != 0);
  CHECK_THAT(output, Catch::StartsWith("seed ") && Catch::Contains("is wrong"));
}
