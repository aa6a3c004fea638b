#pragma once
// From a trained supernet to a packed model.

#include <span>
#include <vector>

#include "models/packed/model.h"

namespace rtfq::packed {

/// What the network itself does not know.
struct PackInfo {
  std::string made_by;               ///< "rtfq 1.0 (0123abc)"
  std::vector<std::string> classes;  ///< names, in the order of the logits
  Preprocessing preprocessing;
  std::vector<Criterion> criteria;  ///< of the scores; the first is what selection uses unless told otherwise
};

/// The file that holds `subnets`, all quantized, with the norms of `domain`. Each layer's codes are stored
/// once a bit-width, cut to the widest of the subnets. Throws std::invalid_argument for a subnet that is not
/// quantized, std::runtime_error where a step size or norm statistics were never trained or calibrated.
std::vector<unsigned char> pack(const Supernet&, Domain domain, std::span<const SubnetEntry> subnets,
                                const PackInfo&);

}  // namespace rtfq::packed
