#include "tools/bench/verify.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/plugin/host.h"
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

/// "RTFQ_TIES_UP", or of both "RTFQ_DIVISION and RTFQ_TIES_UP": what `other` declares and `declared` does
/// not.
std::string rule_text(const catalog::Contract& other, const catalog::Contract& declared) {
  constexpr const char* scalings[] = {"RTFQ_RECIPROCAL", "RTFQ_DIVISION", "RTFQ_EXACT"};
  constexpr const char* ties[] = {"RTFQ_TIES_EVEN", "RTFQ_TIES_AWAY", "RTFQ_TIES_UP"};
  std::string text;
  if (other.scaling != declared.scaling) text = scalings[other.scaling];
  if (other.ties != declared.ties) text += (text.empty() ? "" : " and ") + std::string(ties[other.ties]);
  return text;
}

/// Every rule but the declared one, those that differ in one thing first.
std::vector<catalog::Contract> other_rules(const catalog::Contract& declared) {
  std::vector<catalog::Contract> rules;
  for (const bool both : {false, true})
    for (const auto scaling : {RTFQ_RECIPROCAL, RTFQ_DIVISION, RTFQ_EXACT})
      for (const auto ties : {RTFQ_TIES_EVEN, RTFQ_TIES_AWAY, RTFQ_TIES_UP}) {
        const bool other_scaling = scaling != declared.scaling, other_ties = ties != declared.ties;
        if (both ? other_scaling && other_ties : other_scaling != other_ties) {
          rules.push_back(declared);
          rules.back().scaling = scaling, rules.back().ties = ties;
        }
      }
  return rules;
}

/// The item with fewer images or elements, of which an fp64 reference takes long.
Item shortened(Item item, int64_t images, int64_t elements) {
  const auto at_most = [&](const char* dim, int64_t most) {
    const auto found = item.dims.find(dim);
    if (found != item.dims.end()) found->second = std::min(found->second, most);
  };
  at_most("n", images);
  at_most("count", elements);
  return item;
}
Item small(Item item) {
  return shortened(std::move(item), small_images, small_elements);
}

}  // namespace

void Verifier::verify(catalog::Instance& instance, const Item& item, const std::string& case_name, Row& row) {
  const auto backend = kernels::parse_device(item.device).backend;
  const std::string description = case_name + " (" + instance.description() + ")";
  phase_(item.op + " case " + case_name + " by " + item.implementation + " on " + item.device + " (" +
             instance.description() + ")",
         settings_.limit);
  const auto once = [&](const std::string& where) {
    try {
      const catalog::Verdict verdict = instance.verify(backend, item.implementation, catalog::Ties::near);
      trespassed_ = verdict.trespassed;
      add(row, verdict, where);
    } catch (const simt::Error& error) {
      row.outcome = Outcome::wrong;
      row.message = where + ": " + error.what();
    } catch (const std::runtime_error& error) {
      row.outcome = Outcome::failed;
      row.message = where + ": " + error.what();
    }
    return usable(row.outcome);
  };
  if (backend != kernels::Backend::simt) {
    once("case " + description);
    return;
  }
  // A race shows under some thread orders only.
  const simt::ScopedOptions scope;
  for (int seed = 1; seed <= settings_.simt_seeds; ++seed) {
    simt::options().seed = static_cast<uint64_t>(seed);
    if (once("case " + description + ", thread order " + std::to_string(seed))) continue;
    if (row.outcome == Outcome::wrong && seed > 1)
      row.message += " (right under " + std::to_string(seed - 1) + " other thread orders: a race)";
    return;
  }
}

/// A quantizer that is off at ties may be right by another rule than the declared one. Asked where it was off
/// first: of the case `first` of the catalog, then of every small one; or of the item's own shape, which then
/// is all.
std::string Verifier::agreement(const Item& item, const std::string& first, bool near) {
  if (!kernels::plugin::rounds(item.op) || !kernels::plugin::find(item.op, item.implementation)) return "";
  const catalog::Contract declared = contract_of(item);
  const auto backend = kernels::parse_device(item.device).backend;
  const auto agrees = [&](const std::string& name, const auto& make, catalog::Ties ties) {
    phase_(item.op + " case " + name + " by " + item.implementation + " on " + item.device +
               " (by another rule than the declared one)",
           settings_.limit + making_limit);
    const std::unique_ptr<catalog::Instance> instance = make();
    if (!first.empty() && instance->cost().bytes > 8e5) return true;
    if (!instance->unsupported(backend, item.implementation).empty()) return true;
    return instance->verify(backend, item.implementation, ties).ok;
  };
  const auto agrees_everywhere = [&](const catalog::Contract& rule, catalog::Ties ties) {
    if (first.empty())
      return agrees(
          item.case_text(), [&] { return make_instance(item, true, rule); }, ties);
    for (const bool start : {true, false})
      for (const auto& entry : catalog::entries())
        if (entry.op == item.op && !entry.large && (entry.case_name == first) == start)
          if (!agrees(
                  entry.case_name, [&] { return entry.instance(rule); }, ties))
            return false;
    return true;
  };
  // floorf(v + 0.5f) rounds its sum, so that it has near-ties by its own rule.
  for (const auto ties : {catalog::Ties::strict, catalog::Ties::near})
    for (const catalog::Contract& rule : other_rules(declared))
      if ((ties == catalog::Ties::strict || near) && agrees_everywhere(rule, ties))
        return "; it agrees with " + rule_text(rule, declared) +
               (first.empty() ? " in all elements" : " in every small case") +
               (ties == catalog::Ties::near ? ", near-ties aside" : "") +
               ": declare that, or change how it rounds";
  return "";
}

void Verifier::battery(const Item& item, Row& row) {
  const std::string key = item.op + "/" + item.implementation + "/" + item.device;
  const auto [known, added] = batteries_.try_emplace(key);
  if (added) {
    known->second.outcome = Outcome::exact;
    const GuardPages guarded;
    const catalog::Contract contract = contract_of(item);
    const auto backend = kernels::parse_device(item.device).backend;
    std::string off;  // the case that showed it
    for (const auto& entry : catalog::entries()) {
      if (entry.op != item.op || entry.large) continue;
      phase_("making case " + entry.case_name + " of " + item.op, making_limit);
      const auto instance = entry.instance(contract);
      // The executor takes a second for a million threads.
      if (backend == kernels::Backend::simt && instance->cost().bytes > 8e5) continue;
      if (!instance->unsupported(backend, item.implementation).empty()) continue;
      const bool was_exact = known->second.outcome == Outcome::exact;
      verify(*instance, item, entry.case_name, known->second);
      if (was_exact && known->second.outcome != Outcome::exact) off = entry.case_name;
      if (!usable(known->second.outcome)) {
        known->second.item.catalog_case = off = entry.case_name;
        break;
      }
    }
    // What wrote where it must not is not asked again.
    if (!off.empty() && known->second.outcome != Outcome::failed && !trespassed_)
      known->second.message += agreement(item, off, known->second.outcome == Outcome::wrong);
  }
  const Row& found = known->second;
  row.outcome = found.outcome;
  row.message = found.message;
  row.near_ties = found.near_ties;
  row.compared = found.compared;
  row.repeat = found.item.catalog_case;
}

Item Verifier::verified_part(const Item& item) const {
  return settings_.verify_elements ? shortened(item, settings_.verify_images, settings_.verify_elements)
                                   : item;
}

kernels::catalog::Instance& Verifier::problem_of(const Item& wanted) {
  const Item item = verified_part(wanted);
  if (!problem_ || !same_problem(item, problem_item_)) {
    phase_("making the data and the reference of " + item.name(), making_limit);
    problem_.reset();
    const GuardPages guarded;
    problem_ = make_instance(item, true);
    problem_item_ = item;
  }
  return *problem_;
}

Item Verifier::named(const Item& item) {
  return item.implementation == own_choice ? lab::named(item, problem_of(item)) : item;
}

bool Verifier::item(const Item& wanted, Row& row) {
  const Item item = verified_part(wanted);
  problem_of(wanted);
  const std::string reason =
      problem_->unsupported(kernels::parse_device(item.device).backend, item.implementation);
  if (!reason.empty()) {
    row.outcome = Outcome::skipped;
    row.message = reason;
    return false;
  }
  const bool was_exact = row.outcome == Outcome::exact;
  verify(*problem_, item, wanted.case_text(), row);
  if (was_exact && row.outcome == Outcome::near_tie && item.catalog_case.empty())
    row.message += agreement(small(item), "", false);
  return usable(row.outcome);
}

}  // namespace rtfq::lab
