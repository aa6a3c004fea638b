#pragma once
// Which shapes are measured: the layers of a network by name, a shape in words, cases of the catalog, or a
// file of them.

#include <string>
#include <vector>

#include "tools/bench/item.h"

namespace rtfq::lab {

/// The shapes of an operator in a network: "resnet50@224xb32", "resnet18@112xb64/w0.9,d0.5" (a subnet's width
/// and depth; its weights are slices of the full network's). Equal shapes are one item, `where` lists the
/// layers. Weights are signed, activations unsigned. Items without implementation; none where the network
/// does not use the operator. Throws std::invalid_argument.
std::vector<Item> network_items(const std::string& op, const std::string& network, int bits);

/// Whether a --shape is one of a network's: there is an @ in it.
inline bool names_network(const std::string& shape) {
  return shape.find('@') != shape.npos;
}

/// A line each, empty ones and those that begin with # left out.
std::vector<std::string> read_shapes(const std::string& file);

/// Of equal items (apart from `where`) the first, with the places of all.
std::vector<Item> without_repeats(std::vector<Item>);

}  // namespace rtfq::lab
