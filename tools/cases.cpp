// rtfq-cases: the catalog's cases on a device, for machines that lend a GPU for minutes. One operator or
// implementation at a time, nothing but the catalog linked, so that it starts at once, also under
// compute-sanitizer. Prints one JSON object a failure and one an implementation. Exit status: 0 all right, 1
// some case is wrong, 3 the device gave up (what follows in the same process could only fail too).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/catalog/catalog.h"
#include "kernels/catalog/custom.h"
#include "kernels/runtime/gpu_clock.h"
#include "kernels/simt/executor.h"

namespace {

using namespace rtfq;
using namespace rtfq::kernels;
using json = nlohmann::ordered_json;

struct Arguments {
  std::string device = "cuda", op, implementation, only_case;
  double most_bytes = 1e9;
  int seeds = 1;
  bool list = false, exact = false, large = false, time = false, peaks = false;
};

/// A case of the catalog or a shape of a real network.
struct Case {
  std::string name;
  std::function<std::unique_ptr<catalog::Instance>()> make;
};

/// Layers of ResNets, slices of wider parents among them; sums at sampled elements only.
std::vector<Case> network_cases(const std::string& op) {
  const std::vector<std::map<std::string, int64_t>> shapes{
      {{"n", 8}, {"h", 224}, {"w", 224}, {"c", 3}, {"k", 64}, {"filter", 7}, {"stride", 2}},
      {{"n", 8}, {"h", 56}, {"w", 56}, {"c", 64}, {"k", 64}, {"filter", 3}},
      {{"n", 8}, {"h", 56}, {"w", 56}, {"c", 256}, {"k", 64}, {"filter", 1}},
      {{"n", 8}, {"h", 40}, {"w", 40}, {"c", 112}, {"k", 112}, {"filter", 3}, {"stride", 2}, {"of", 128}},
      {{"n", 8}, {"h", 28}, {"w", 28}, {"c", 432}, {"k", 864}, {"filter", 1}, {"stride", 2}, {"of", 512}},
      {{"n", 32}, {"h", 7}, {"w", 7}, {"c", 512}, {"k", 512}, {"filter", 3}}};
  std::vector<Case> cases;
  for (const auto& dims : shapes)
    for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
      catalog::CustomRequest request{op, dims, type};
      std::string name = type_name(type);
      for (const auto& [key, value] : dims) name += "," + key + "=" + std::to_string(value);
      cases.push_back({name, [request] { return catalog::custom(request); }});
    }
  return cases;
}

std::vector<Case> cases_of(const std::string& op, const Arguments& a) {
  const bool convolution = op.rfind("conv2d.", 0) == 0;
  if (a.large && convolution) return network_cases(op);
  std::vector<Case> cases;
  for (const auto& entry : catalog::entries())
    if (entry.op == op && entry.large == a.large) cases.push_back({entry.case_name, entry.make});
  return cases;
}

std::vector<std::string> operators(const Arguments& a) {
  std::vector<std::string> ops;
  for (const auto& entry : catalog::entries())
    if (entry.op.rfind(a.op, 0) == 0 && std::find(ops.begin(), ops.end(), entry.op) == ops.end())
      ops.push_back(entry.op);
  return ops;
}

std::vector<std::string> implementations(const std::string& op, Backend backend) {
  for (const auto& entry : catalog::entries())
    if (entry.op == op && !entry.large) try {
        return entry.make()->implementations(backend);
      } catch (const std::runtime_error&) {
        break;  // the operator has none on this device
      }
  return {};
}

struct Count {
  int ran = 0, refused = 0, wrong = 0;
  bool gone = false;  ///< the device
};

Device device_of(const Arguments& a) {
  return parse_device(a.device);
}

/// An empty string, or what is wrong.
std::string verify(catalog::Instance& instance, Backend backend, const std::string& name, const Arguments& a,
                   Count& count) {
  const simt::ScopedOptions scope;
  for (int seed = 1; seed <= (backend == Backend::simt ? a.seeds : 1); ++seed) try {
      simt::options().seed = static_cast<uint64_t>(seed);
      const auto verdict = instance.verify(backend, name);
      if (!verdict.ok) return verdict.message;
    } catch (const std::exception& error) {
      const std::string text = error.what();
      count.gone = text.find("[cuda]") != text.npos && text.find("out of memory") == text.npos;
      return text;
    }
  return "";
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

/// Device time of a launch with a cold level-two cache, beside what the case has to move and to compute.
void print_time(catalog::Instance& instance, const std::string& op, const std::string& name,
                const std::string& case_name, Device device) {
  static runtime::GpuClock clock(device);
  instance.prepare(device.backend, name);
  const auto samples = clock.time([&](Stream stream) { instance.launch(stream); }, {true, 11, 0.02, 0.1});
  const auto cost = instance.cost();
  const double seconds = median(samples.device);
  std::printf("%s\n", json{{"op", op},
                           {"implementation", name},
                           {"case", case_name},
                           {"seconds", seconds},
                           {"end_to_end", median(samples.end_to_end)},
                           {"bytes", cost.bytes},
                           {"operations", cost.operations},
                           {"gb_per_s", cost.bytes / seconds * 1e-9},
                           {"gop_per_s", cost.operations / seconds * 1e-9},
                           {"sm_mhz", samples.state.sm_mhz},
                           {"watts", samples.state.watts},
                           {"discarded", samples.discarded}}
                          .dump()
                          .c_str());
  std::fflush(stdout);
}

int print_peaks(Device device) {
  runtime::GpuClock clock(device);
  const auto facts = clock.facts();
  const auto peaks = runtime::measure_gpu(clock, device);
  std::printf("%s\n", json{{"name", facts.name},
                           {"driver", facts.driver},
                           {"l2_bytes", facts.l2_cache},
                           {"copy", peaks.copy},
                           {"f32", peaks.f32},
                           {"bf16", peaks.bf16},
                           {"int8", peaks.int8},
                           {"by", peaks.by}}
                          .dump()
                          .c_str());
  return 0;
}

Count run(const std::string& op, const std::string& name, Backend backend, const Arguments& a) {
  Count count;
  const auto start = std::chrono::steady_clock::now();
  for (const Case& one : cases_of(op, a)) {
    if (!a.only_case.empty() && one.name != a.only_case) continue;
    const auto instance = one.make();
    if (instance->cost().bytes > a.most_bytes) continue;
    if (!instance->unsupported(backend, name).empty()) {
      ++count.refused;
      continue;
    }
    ++count.ran;
    if (a.time) {
      print_time(*instance, op, name, one.name, device_of(a));
      continue;
    }
    const std::string message = verify(*instance, backend, name, a, count);
    if (message.empty()) continue;
    ++count.wrong;
    std::printf(
        "%s\n",
        json{{"op", op}, {"implementation", name}, {"case", one.name}, {"wrong", message}}.dump().c_str());
    std::fflush(stdout);
    if (count.gone) break;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s\n", json{{"op", op},
                           {"implementation", name},
                           {"ran", count.ran},
                           {"refused", count.refused},
                           {"wrong_cases", count.wrong},
                           {"device_lost", count.gone},
                           {"seconds", seconds}}
                          .dump()
                          .c_str());
  std::fflush(stdout);
  return count;
}

int run(const Arguments& a) {
  const Device device = parse_device(a.device);
  catalog::use_cuda_device(device.index);
  catalog::mirror_simt(true);
  catalog::exact_device_memory(a.exact);
  if (a.peaks) return print_peaks(device);
  if (a.time && device.backend != Backend::cuda)
    throw std::invalid_argument("[cases] --time expects --device cuda");
  Count all;
  for (const std::string& op : operators(a))
    for (const std::string& name : implementations(op, device.backend)) {
      if (!a.implementation.empty() && name != a.implementation) continue;
      if (a.list) {
        std::printf("%s %s\n", op.c_str(), name.c_str());
        ++all.ran;
        continue;
      }
      const Count count = run(op, name, device.backend, a);
      all.ran += count.ran;
      all.wrong += count.wrong;
      if (count.gone) return 3;
    }
  if (all.ran == 0) {
    std::fprintf(stderr, "rtfq-cases: nothing ran: no such operator, implementation or case on %s\n",
                 a.device.c_str());
    return 1;
  }
  return all.wrong ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Runs the catalog's cases on a device and compares every result with its fp64 reference");
  app.add_option("--device", a.device, "cuda, cuda:N, simt or cpu")->capture_default_str();
  app.add_option("--op", a.op, "operators whose names begin so (default: all)");
  app.add_option("--impl", a.implementation, "one implementation (default: all)");
  app.add_option("--case", a.only_case, "one case");
  app.add_option("--max-bytes", a.most_bytes, "cases that move more are left out")->capture_default_str();
  app.add_option("--seeds", a.seeds, "thread orders on simt")->capture_default_str();
  app.add_flag("--large", a.large, "shapes of real networks instead of the small cases");
  app.add_flag("--exact", a.exact,
               "device buffers without guard zones, workspaces unwritten: under compute-sanitizer");
  app.add_flag("--time", a.time,
               "time the cases instead of checking them; with --large for times that mean something");
  app.add_flag("--peaks", a.peaks, "print the GPU's copy bandwidth and matrix peaks");
  app.add_flag("--list", a.list, "print operators and implementations; touches no device");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(a);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-cases: %s\n", error.what());
    return 1;
  }
}
