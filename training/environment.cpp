#include "training/environment.h"

#include <ctime>
#include <fstream>

#include "data/image.h"
#include "kernels/runtime/device.h"

namespace rtfq {

/// Of the sources this was built from, with "+" where files were changed; made by training/commit.cmake.
extern const char* const build_commit;
extern const char* const build_version;

namespace {

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::map<std::string, std::string> environment(int threads) {
  return {{"version", build_version},
          {"commit", build_commit},
          {"cpu", processor()},
          {"threads", std::to_string(threads > 0 ? threads : kernels::runtime::threads())},
          {"jpeg", data::jpeg_decoder({})},
          {"date", utc_now()}};
}

}  // namespace rtfq
