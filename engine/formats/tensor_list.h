#pragma once
// The tensors of a checkpoint file of any known format, as views of its bytes.

#include <map>
#include <string>
#include <vector>

#include "engine/formats/array.h"

namespace rtfq::formats {

struct NamedArray {
  std::string group;  ///< the dictionaries that hold it, outermost first: "", "state_dict", "optimizer/state"
  std::string name;
  ArrayView array;  ///< checked
};

struct TensorList {
  std::string format;  ///< "safetensors", "torch zip" or "torch legacy"
  std::vector<NamedArray> tensors;
  std::map<std::string, std::string> metadata;  ///< of safetensors
};

/// What torch.save writes: the zip format since PyTorch 1.6, or the stream of pickles before it. The views
/// point into `file`. Throws FormatError: for whole models and TorchScript archives too, which are code.
TensorList read_torch(Bytes file);

/// A safetensors file of any writer. Throws FormatError.
TensorList read_safetensors(Bytes file);

/// Either, told apart by the first bytes. Throws FormatError.
TensorList read_tensors(Bytes file);

}  // namespace rtfq::formats
