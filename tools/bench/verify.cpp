#include "tools/bench/verify.h"

#include <algorithm>

#include "kernels/simt/executor.h"

namespace rtfq::lab {

namespace catalog = kernels::catalog;

namespace {

/// Guard pages around buffers made in this scope.
struct GuardPages {
  GuardPages() { catalog::guard_pages(true); }
  ~GuardPages() { catalog::guard_pages(false); }
};

void add(Row& row, const catalog::Verdict& verdict, const std::string& where) {
  row.compared += verdict.compared;
  row.near_ties += verdict.near_ties;
  if (!verdict.ok) {
    row.outcome = Outcome::wrong;
    row.message = where + ": " + verdict.message;
  } else if (verdict.near_ties && row.outcome != Outcome::wrong) {
    if (row.message.empty()) row.message = where + ": " + verdict.near_message;
    row.outcome = Outcome::near_tie;
  }
}

/// The item with two images, or a million elements, of each of which an fp64 reference takes long.
Item small(Item item) {
  const auto at_most = [&](const char* dim, int64_t most) {
    const auto found = item.dims.find(dim);
    if (found != item.dims.end()) found->second = std::min(found->second, most);
  };
  at_most("n", 2);
  at_most("count", int64_t{1} << 20);
  return item;
}

}  // namespace

void Verifier::verify(catalog::Instance& instance, const Item& item, const std::string& case_name, Row& row) {
  const auto backend = kernels::parse_device(item.device).backend;
  phase_(item.op + " case " + case_name + " by " + item.implementation + " on " + item.device,
         settings_.limit);
  if (backend != kernels::Backend::simt) {
    add(row, instance.verify(backend, item.implementation, catalog::Ties::near), "case " + case_name);
    return;
  }
  // A race shows under some thread orders only.
  const simt::ScopedOptions scope;
  for (int seed = 1; seed <= settings_.simt_seeds; ++seed) {
    simt::options().seed = static_cast<uint64_t>(seed);
    const std::string where = "case " + case_name + ", thread order " + std::to_string(seed);
    try {
      add(row, instance.verify(backend, item.implementation, catalog::Ties::near), where);
    } catch (const simt::Error& error) {
      row.outcome = Outcome::wrong;
      row.message = where + ": " + error.what();
    }
    if (row.outcome == Outcome::wrong) {
      if (seed > 1)
        row.message += " (right under " + std::to_string(seed - 1) + " other thread orders: a race)";
      return;
    }
  }
}

void Verifier::battery(const Item& item, Row& row) {
  const std::string key = item.op + "/" + item.implementation + "/" + item.device;
  const auto [known, added] = batteries_.try_emplace(key);
  if (added) {
    known->second.outcome = Outcome::exact;
    const GuardPages guarded;
    const catalog::Contract contract = contract_of(item);
    const auto backend = kernels::parse_device(item.device).backend;
    for (const auto& entry : catalog::entries()) {
      if (entry.op != item.op || entry.large) continue;
      phase_("making case " + entry.case_name + " of " + item.op, making_limit);
      const auto instance = entry.instance(contract);
      // The executor takes a second for a million threads.
      if (backend == kernels::Backend::simt && instance->cost().bytes > 8e5) continue;
      if (!instance->unsupported(backend, item.implementation).empty()) continue;
      verify(*instance, item, entry.case_name, known->second);
      if (known->second.outcome == Outcome::wrong) {
        known->second.item.catalog_case = entry.case_name;
        break;
      }
    }
  }
  const Row& found = known->second;
  row.outcome = found.outcome;
  row.message = found.message;
  row.near_ties = found.near_ties;
  row.compared = found.compared;
  row.repeat = found.item.catalog_case;
}

bool Verifier::item(const Item& wanted, Row& row) {
  const Item item = settings_.verify_small ? small(wanted) : wanted;
  if (!problem_ || !same_problem(item, problem_item_)) {
    phase_("making the data and the reference of " + item.name(), making_limit);
    problem_.reset();
    const GuardPages guarded;
    problem_ = make_instance(item, true);
    problem_item_ = item;
  }
  const std::string reason =
      problem_->unsupported(kernels::parse_device(item.device).backend, item.implementation);
  if (!reason.empty()) {
    row.outcome = Outcome::skipped;
    row.message = reason;
    return false;
  }
  verify(*problem_, item, wanted.case_text(), row);
  return row.outcome != Outcome::wrong;
}

}  // namespace rtfq::lab
