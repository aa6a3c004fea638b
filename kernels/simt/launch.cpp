// Grids, options and repeated checks.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <thread>

#include "kernels/simt/memory.h"
#include "kernels/simt/runner.h"

namespace rtfq::simt {
namespace {

std::atomic<uint64_t> launches, blocks_run, threads_run, switches;

template <class Choice, std::size_t n>
Choice read_choice(const char* variable, const char* const (&names)[n], Choice otherwise) {
  const char* text = std::getenv(variable);
  if (!text) return otherwise;
  std::string all;
  for (std::size_t i = 0; i < n; ++i) {
    if (names[i] == std::string(text)) return static_cast<Choice>(i);
    all += (i ? ", " : "") + std::string(names[i]);
  }
  throw Error(std::string(variable) + " expects one of " + all + ", got '" + text + "'");
}

uint64_t read_number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  if (!text) return otherwise;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 0);
  if (end == text || *end) throw Error(std::string(variable) + " expects a number, got '" + text + "'");
  return value;
}

Options from_environment() {
  constexpr const char* orders[] = {"mixed", "forward", "reverse", "uniform", "warps", "threads"};
  constexpr const char* asyncs[] = {"mixed", "early", "late"};
  Options o;
  o.seed = read_number("RTFQ_SIMT_SEED", o.seed);
  o.order = read_choice("RTFQ_SIMT_ORDER", orders, o.order);
  o.async = read_choice("RTFQ_SIMT_ASYNC", asyncs, o.async);
  o.os_threads = static_cast<int>(std::clamp<uint64_t>(read_number("RTFQ_SIMT_THREADS", 1), 1, 256));
  o.guard = read_number("RTFQ_SIMT_GUARD", 0) != 0;
  return o;
}

/// The order in which blocks start.
std::vector<uint32_t> block_order(uint64_t blocks) {
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  if (options().order == Order::reverse) std::reverse(order.begin(), order.end());
  if (options().order == Order::forward || options().order == Order::reverse) return order;
  Random random(options().seed);
  for (auto i = static_cast<uint32_t>(blocks); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace

Options& options() {
  static Options o = from_environment();
  return o;
}

Statistics statistics() {
  return {launches, blocks_run, threads_run, switches};
}

Report check(const std::function<void()>& body, int schedules, uint64_t first_seed) {
  const ScopedOptions scope;
  Report report;
  for (int i = 0; i < schedules; ++i) {
    options().seed = first_seed + static_cast<uint64_t>(i);
    ++report.schedules;
    try {
      body();
    } catch (const std::exception& error) {
      report.ok = false;
      report.seed = options().seed;
      report.message = error.what();
      break;
    }
  }
  return report;
}

namespace device {

void check_launch(dim3 grid, dim3 block, std::size_t shared) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const auto text = [](dim3 d) {
    return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
  };
  if (threads == 0 || threads > max_threads || block.z > 64)
    throw Error("launch: a block has 1 to 1024 threads, at most 64 of them along z; got " + text(block));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw Error("launch: a grid has 1 to 2147483647, 65535, 65535 blocks; got " + text(grid));
  if (shared > max_shared)
    throw Error("launch: a block has at most 232448 bytes of shared memory; got " + std::to_string(shared));
}

void check_pointer(const void* argument) {
  if (!may_be_device(argument))
    throw Error("launch: an argument points to the host's memory; a GPU reads only the device's");
}

void run(dim3 grid, dim3 block, std::size_t shared, void (*body)(void*), void* argument) {
  check_launch(grid, block, shared);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (blocks > 0xffffffffu) throw Error("launch: the executor takes grids of fewer than 2^32 blocks");
  const DeviceAccess access;
  const Launch launch{grid, block, shared, body, argument};
  const std::vector<uint32_t> order = block_order(blocks);
  std::atomic<uint64_t> taken{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    Runner& runner = Runner::here();
    try {
      runner.begin(launch);
      for (uint64_t i; (i = taken++) < blocks;) runner.run_block(order[i]);
    } catch (...) {
      taken = blocks;  // the others stop too
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
    switches += runner.take_switches();
  };
  const auto workers = std::min<uint64_t>(static_cast<uint64_t>(std::max(1, options().os_threads)), blocks);
  if (workers == 1) {
    work();
  } else {
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < workers; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
  }
  ++launches;
  blocks_run += blocks;
  threads_run += blocks * block.x * block.y * block.z;
  if (error) std::rethrow_exception(error);
}

}  // namespace device
}  // namespace rtfq::simt
