#include "tools/bench/machine.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/catalog/custom.h"
#include "kernels/cpu/machine.h"
#include "tools/bench/gpu_timing.h"
#include "tools/bench/statistics.h"
#include "training/environment.h"

namespace rtfq::lab {

using json = nlohmann::json;
using kernels::cpu::memory_mixes;
using kernels::cpu::MemoryMix;
using kernels::cpu::MemoryRates;

namespace {

const char* key(MemoryMix mix) {
  constexpr const char* keys[] = {"copy", "triad", "schoenauer", "read"};
  return keys[static_cast<int>(mix)];
}

/// Our own fastest kernel where there is no library to measure a peak by: a 1x1 convolution that is a large
/// matrix product.
double own_peak(kernels::runtime::GpuClock& clock, const kernels::Device& device, rtfq_dtype type) {
  kernels::catalog::use_cuda_device(device.index);
  const auto instance = kernels::catalog::custom(
      {"conv2d.forward", {{"n", 64}, {"h", 16}, {"w", 16}, {"c", 2048}, {"k", 2048}, {"filter", 1}}, type});
  for (const std::string& name : instance->implementations(device.backend)) {
    if (!instance->unsupported(device.backend, name).empty()) continue;
    instance->prepare(device.backend, name);
    const auto samples =
        clock.time([&](kernels::Stream stream) { instance->launch(stream); }, {false, 9, 0.01, 0.15});
    return instance->cost().operations / quantile(samples.device, 0.5);
  }
  return 0;
}

/// Counts the ways in which ceilings were measured; what was kept by another one is measured again.
constexpr int method = 3;

Machine measure_gpu(const kernels::Device& device) {
  auto& clock = gpu_clock(device);
  const auto facts = clock.facts();
  auto peaks = kernels::runtime::measure_gpu(clock, device);
  if (peaks.by.empty()) {
    peaks.by = "our own convolutions";
    peaks.f32 = own_peak(clock, device, RTFQ_F32);
    peaks.bf16 = own_peak(clock, device, RTFQ_BF16);
    peaks.int8 = own_peak(clock, device, RTFQ_U8);
  }
  MemoryRates memory;
  for (const MemoryMix mix : memory_mixes) memory[mix] = peaks.copy;
  return {facts.name, utc_now(), 0, memory, peaks.f32, peaks.bf16, peaks.int8, peaks.by, facts.l2_cache};
}

Machine measure_processor(int threads) {
  const auto peaks = kernels::cpu::measure_machine(
      6, [](const char* what) { std::fprintf(stderr, "rtfq-bench: measuring this machine: %s\n", what); });
  auto facts = environment(threads);
  return {facts["cpu"], facts["date"], threads, peaks.memory, peaks.f32, peaks.bf16, peaks.int8};
}

}  // namespace

double Machine::floor_seconds(const kernels::Cost& cost, double bytes_a_second,
                              const std::string& dtype) const {
  return std::max(cost.bytes / bytes_a_second, cost.operations / peak(dtype));
}

std::string Machine::memory_text() const {
  char text[160];
  if (threads)
    std::snprintf(text, sizeof text,
                  "memory: copy %.1f, triad %.1f, Schoenauer triad %.1f, read alone %.1f GB/s", copy() / 1e9,
                  memory[MemoryMix::triad] / 1e9, memory[MemoryMix::schoenauer] / 1e9,
                  memory[MemoryMix::read] / 1e9);
  else
    std::snprintf(text, sizeof text, "memory: copy %.1f GB/s", copy() / 1e9);
  return text;
}

void to_json(json& j, const Machine& m) {
  j = {{"cpu", m.cpu},   {"date", m.date}, {"threads", m.threads}, {"f32", m.f32},
       {"bf16", m.bf16}, {"int8", m.int8}, {"by", m.by},           {"cache", m.cache}};
  for (const auto mix : memory_mixes) j[key(mix)] = m.memory[mix];
}

void from_json(const json& j, Machine& m) {
  MemoryRates memory;
  for (const auto mix : memory_mixes) {
    // Earlier files lack the Schoenauer triad.
    const MemoryMix known = j.contains(key(mix)) ? mix : MemoryMix::triad;
    memory[mix] = j.at(key(known));
  }
  m = {j.at("cpu"),          j.at("date"), j.at("threads"), memory,
       j.at("f32"),          j.at("bf16"), j.at("int8"),    j.value("by", "oneDNN"),
       j.value("cache", 0.0)};
}

std::string machine_file(int threads, const kernels::Device& device) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = cache && *cache ? cache : std::string(home ? home : ".") + "/.cache";
  const bool gpu = device.backend == kernels::Backend::cuda;
  std::string name = gpu ? gpu_clock(device).facts().name : environment(threads)["cpu"];
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  return folder + "/rtfq/machine-" + name + (gpu ? "" : "-" + std::to_string(threads)) + ".json";
}

Machine this_machine(bool refresh, const kernels::Device& device) {
  const int threads = kernels::runtime::threads();
  const std::string file = machine_file(threads, device);
  if (!refresh) {
    std::ifstream in(file);
    const json kept = json::parse(in, nullptr, false);
    if (!kept.is_discarded() && kept.value("method", 1) == method) return kept.get<Machine>();
  }
  const Machine machine =
      device.backend == kernels::Backend::cuda ? measure_gpu(device) : measure_processor(threads);
  keep_machine(machine, file);
  return machine;
}

void keep_machine(const Machine& machine, const std::string& file) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  json kept = machine;
  kept["method"] = method;
  std::ofstream(file) << kept.dump(2) << "\n";
}

}  // namespace rtfq::lab
