#include "tools/bench/machine.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/cpu/machine.h"
#include "kernels/runtime/device.h"
#include "training/environment.h"

namespace rtfq::lab {

using json = nlohmann::json;

double Machine::floor_seconds(double bytes, double operations, const std::string& dtype) const {
  return std::max(bytes / bandwidth(), operations / peak(dtype));
}

void to_json(json& j, const Machine& m) {
  j = {{"cpu", m.cpu},   {"date", m.date}, {"threads", m.threads}, {"copy", m.copy}, {"triad", m.triad},
       {"read", m.read}, {"f32", m.f32},   {"bf16", m.bf16},       {"int8", m.int8}};
}

void from_json(const json& j, Machine& m) {
  m = {j.at("cpu"),  j.at("date"), j.at("threads"), j.at("copy"), j.at("triad"),
       j.at("read"), j.at("f32"),  j.at("bf16"),    j.at("int8")};
}

std::string machine_file(int threads) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = cache && *cache ? cache : std::string(home ? home : ".") + "/.cache";
  std::string name = environment(threads)["cpu"];
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  return folder + "/rtfq/machine-" + name + "-" + std::to_string(threads) + ".json";
}

Machine this_machine(bool refresh) {
  const int threads = kernels::runtime::threads();
  const std::string file = machine_file(threads);
  if (!refresh) {
    std::ifstream in(file);
    const json kept = json::parse(in, nullptr, false);
    if (!kept.is_discarded()) return kept.get<Machine>();
  }
  const auto peaks = kernels::cpu::measure_machine(
      6, [](const char* what) { std::fprintf(stderr, "rtfq-bench: measuring this machine: %s\n", what); });
  auto facts = environment(threads);
  const Machine machine{facts["cpu"], facts["date"], threads,    peaks.copy, peaks.triad,
                        peaks.read,   peaks.f32,     peaks.bf16, peaks.int8};
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  std::ofstream(file) << json(machine).dump(2) << "\n";
  return machine;
}

}  // namespace rtfq::lab
