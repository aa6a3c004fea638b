#pragma once
// The weights of one network out of a checkpoint file, whatever they are wrapped in.

#include <map>
#include <string>
#include <vector>

#include "engine/formats/tensor_list.h"

namespace rtfq::checkpoint {

struct StateDict {
  std::map<std::string, formats::ArrayView> tensors;  ///< without wrappers and prefixes
  std::vector<std::string> dropped;                   ///< names outside of the network
  std::vector<std::string> notes;                     ///< which wrapper and prefix were taken off, for people
};

/// Takes the dictionary called `wanted`, or where that is empty the one that holds a network: averaged (EMA)
/// weights before others, as timm evaluates them. Prefixes such as `module.` and `backbone.` come off. Throws
/// std::runtime_error naming the dictionaries when none or several might be meant.
StateDict state_dict(const formats::TensorList&, const std::string& wanted = "");

}  // namespace rtfq::checkpoint
