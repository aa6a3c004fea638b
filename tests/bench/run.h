#pragma once
// Runs build/bin/rtfq-bench as people do and looks at what comes back.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/command.h"

namespace rtfq::test {

/// One of tests/bench/plugins, by its fault's name in lower case.
inline std::string plugin(const std::string& fault) {
  return std::string(RTFQ_PLUGINS) + "/" + fault + ".so";
}

/// A folder of its own, in which the machine's ceilings need not be measured: they are made up.
class Lab {
 public:
  Lab();
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  std::string at(const std::string& name) const { return (root_ / name).string(); }
  Outcome run(std::vector<std::string> arguments) const;
  /// Verifies fakequant.forward by a plug-in on a small case.
  Outcome verify(const std::string& fault, std::vector<std::string> more = {}) const;

 private:
  std::filesystem::path root_;
};

}  // namespace rtfq::test
