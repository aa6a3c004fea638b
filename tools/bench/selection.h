#pragma once
// From the command line's axes to the items of a sweep.

#include <string>
#include <vector>

#include "tools/bench/item.h"
#include "tools/bench/lab.h"

namespace rtfq::lab {

struct Selection {
  std::vector<std::string> ops;              ///< names or shell patterns: "fakequant.*"
  std::vector<std::string> implementations;  ///< all, ours, names, plugin:FILE; empty: all
  std::vector<std::string> devices;          ///< cpu, simt, cuda[:N]; empty: cpu
  std::vector<std::string> bits;             ///< "4", "8", "4s" (signed); empty: 4
  std::vector<std::string> dtypes;           ///< empty: f32
  std::vector<std::string> shapes;           ///< NETWORK@PIXELSxbBATCH, NAME=NUMBER,..., or a file
  std::vector<std::string> cases;            ///< of the catalog: names or patterns, large
  std::string data = "normal", suite;
};

/// Files of the implementations that are plugin:FILE.
std::vector<std::string> plugin_files(const Selection&);

/// All items of the sweep, by case and then implementation. Throws std::invalid_argument for what is not
/// known, naming what is.
std::vector<Item> items_of(const Selection&, const std::vector<Offered>& known);

/// Of `known`, what one word of --impl means for an operator on a device.
std::vector<Offered> matching(const std::string& word, const std::string& op, const std::string& device,
                              const std::vector<Offered>& known);

}  // namespace rtfq::lab
