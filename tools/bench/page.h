#pragma once
// Results as a page of HTML in the style of the training report, or as Markdown.

#include <string>
#include <vector>

#include "tools/bench/results.h"

namespace rtfq::lab {

struct NamedResults {
  std::string name;  ///< of the file
  Results results;
};

/// Self-contained, without scripts: roofline, bars by case, a table, the machines. Several files side by
/// side.
std::string results_page(const std::vector<NamedResults>&);

/// Our own kernels that are beyond the caches, the lowest share of the floor first; then the rest.
std::string results_markdown(const Results&);

}  // namespace rtfq::lab
