#pragma once
// Whether a kernel is right, before it gets a time: the operator's cases of the catalog, which hold every
// edge that is known, then the measured shape itself with ties, borders and NaN in it, buffers between guard
// pages.

#include <functional>
#include <map>
#include <memory>

#include "tools/bench/item.h"
#include "tools/bench/subject.h"

namespace rtfq::lab {

/// Making a case of a large network and its fp64 reference may take this long.
inline constexpr double making_limit = 900;

class Verifier {
 public:
  /// `phase` is told what comes next, and how many seconds it may take.
  using Phase = std::function<void(const std::string& what, double limit)>;
  Verifier(const Settings& settings, Phase phase) : settings_(settings), phase_(std::move(phase)) {}

  /// The item by the implementation that its own_choice stands for.
  Item named(const Item&);
  /// The small cases of the item's operator, once for every implementation. Fills in outcome, message and
  /// counts.
  void battery(const Item&, Row&);
  /// The item's own shape. False: it is not to be timed, and the row says why.
  bool item(const Item&, Row&);
  /// What `item` was asked of last; its operands lie between guard pages.
  kernels::catalog::Instance* problem() { return problem_.get(); }

 private:
  /// What `item` is asked of.
  Item verified_part(const Item&) const;
  kernels::catalog::Instance& problem_of(const Item&);
  void verify(kernels::catalog::Instance&, const Item&, const std::string& case_name, Row&);
  /// "it agrees with RTFQ_TIES_UP in every small case: ...", or nothing. `first` is a case where it was off;
  /// `near`: rules that it keeps but for near-ties count.
  std::string agreement(const Item&, const std::string& first, bool near);

  Settings settings_;
  Phase phase_;
  bool trespassed_ = false;               ///< the last verdict's
  std::map<std::string, Row> batteries_;  ///< by operator, implementation and device
  Item problem_item_;
  std::unique_ptr<kernels::catalog::Instance> problem_;
};

}  // namespace rtfq::lab
