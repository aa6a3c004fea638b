#pragma once
// In a worker: the catalog's problem behind an item, kept between items that share it.

#include <memory>
#include <string>

#include "kernels/catalog/custom.h"
#include "tools/bench/item.h"

namespace rtfq::lab {

/// The rounding that an implementation declares; this project's for its own.
kernels::catalog::Contract contract_of(const Item&);
/// "multiply by the reciprocal, ties to even"; empty where nothing is rounded.
std::string rounding_of(const Item&);

/// The catalog's problem for an item. `verifying`: with what is hard to get right instead of the item's data.
/// Throws std::invalid_argument when there is no such case or shape.
std::unique_ptr<kernels::catalog::Instance> make_instance(const Item&, bool verifying);
/// The same held to another contract than the implementation declares.
std::unique_ptr<kernels::catalog::Instance> make_instance(const Item&, bool verifying,
                                                          const kernels::catalog::Contract&);

/// The item by the implementation that its own_choice stands for; by the first of them, which says why, where
/// all refuse.
Item named(Item, const kernels::catalog::Instance&);

/// Whether make_instance answers the same problem for both.
bool same_problem(const Item&, const Item&);

}  // namespace rtfq::lab
