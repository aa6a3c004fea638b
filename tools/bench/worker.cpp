#include "tools/bench/worker.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "kernels/plugin/host.h"
#include "tools/bench/gpu_timing.h"
#include "tools/bench/offers.h"
#include "tools/bench/pairs.h"
#include "tools/bench/subject.h"
#include "tools/bench/timing.h"
#include "tools/bench/verify.h"

namespace rtfq::lab {
namespace {

int events = -1;

/// One line for the lab.
void tell(const json& event) {
  const std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t wrote = ::write(events, line.data() + at, line.size() - at);
    if (wrote <= 0) ::_exit(1);  // the lab is gone
    at += static_cast<std::size_t>(wrote);
  }
}

/// What a fault's address was is known only here; the lab learns it before this process ends by the same
/// signal.
void report_fault(int signal, siginfo_t* info, void*) {
  char where[160], line[256];
  kernels::catalog::describe_address(info->si_addr, where, sizeof where);
  const int length = std::snprintf(line, sizeof line, "{\"fault\":\"%s\"}\n", where);
  if (where[0]) static_cast<void>(!::write(events, line, static_cast<std::size_t>(length)));
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

void catch_faults() {
  static char stack[1 << 16];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = report_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  for (const int signal : {SIGSEGV, SIGBUS}) ::sigaction(signal, &action, nullptr);
}

/// Tells what comes next and how long it may take.
void phase(const std::string& what, double limit) {
  tell({{"phase", what}, {"limit", limit}});
}

/// Problems and launches of one item after another.
class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings), verifier_(settings, [this](const std::string& what, double limit) {
          doing_ = what;
          phase(what, limit);
        }) {}

  Row run(const Item& asked) {
    Row row;
    row.item = asked;
    doing_.clear();
    try {
      const Item item = row.item = verifier_.named(asked);
      row.rounding = rounding_of(item);
      const kernels::Device device = kernels::parse_device(item.device);
      kernels::catalog::use_cuda_device(device.index);
      verifier_.battery(item, row);
      if (!usable(row.outcome)) return row;
      if (!verifier_.item(item, row)) return row;
      if (settings_.verify_only) return row;
      phase("making the data of " + item.name(), making_limit);
      auto& timed = timed_instance(item);
      doing_ = "timing " + item.name();
      phase(doing_, 2 * settings_.limit + 10 * std::max(settings_.seconds, 4.0));
      timed.prepare(device.backend, item.implementation);
      row.cost = timed.cost();
      row.read_share = timed.read_share();
      row.footprint = static_cast<double>(timed.footprint());
      if (!std::isnan(timed.prepare_seconds())) row.prepare_seconds = timed.prepare_seconds();
      if (device.backend == kernels::Backend::cuda)
        time_on_gpu(timed, device, settings_, row);
      else
        time_launches(timed, settings_, row);
    } catch (const std::exception& error) {
      row.outcome = Outcome::failed;
      row.message = error.what() + (doing_.empty() ? "" : ", while " + doing_);
    }
    return row;
  }

 private:
  kernels::catalog::Instance& timed_instance(const Item& item) {
    if (timed_ && same_problem(item, timed_item_)) return *timed_;
    timed_.reset();
    // A case of the catalog has one set of data, and a large one's reference takes seconds.
    if (!item.catalog_case.empty() && verifier_.problem()) return *verifier_.problem();
    timed_ = make_instance(item, false);
    timed_item_ = item;
    return *timed_;
  }

  Settings settings_;
  std::string doing_;
  Verifier verifier_;
  Item timed_item_;
  std::unique_ptr<kernels::catalog::Instance> timed_;
};

void serve(const json& request) {
  for (const std::string& file : request.value("plugins", std::vector<std::string>{})) {
    phase("loading " + file, request.value("limit", 20.0));
    kernels::plugin::load(file);
  }
  const std::string what = request.at("request");
  if (what == "offers") {
    tell({{"offers", all_offers()}});
  } else if (what == "run") {
    Bench bench(request.at("settings"));
    std::size_t i = 0;
    for (const json& one : request.at("items")) {
      tell({{"start", i}});
      tell({{"row", i}, {"result", bench.run(one)}});
      ++i;
    }
  } else if (what == "compare") {
    tell({{"pairs", measure_pairs(request, phase)}});
  } else {
    throw std::invalid_argument("[worker] unknown request " + what);
  }
}

}  // namespace

int serve_worker() {
  events = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  // What a plug-in printed before it crashed is worth most.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  catch_faults();
  std::string line;
  std::getline(std::cin, line);
  try {
    serve(json::parse(line));
  } catch (const std::exception& error) {
    tell({{"error", error.what()}});
    return 1;
  }
  std::fflush(stdout);
  tell({{"done", true}});
  // Plug-ins' destructors are theirs: nothing of them runs after the results are out.
  ::_exit(0);
}

}  // namespace rtfq::lab
