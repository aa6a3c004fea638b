#pragma once
// One file format for checkpoints: safetensors (a JSON header of names, dtypes, shapes and offsets, then the
// data), with a checksum and free text in `__metadata__`.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/atomic_file.h"  // write_file_atomically
#include "engine/tensor.h"

namespace rtfq {

struct TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;

  /// Throws std::runtime_error naming the tensor when the file lacks it.
  const Tensor& at(const std::string& name) const;
  const Tensor* find(const std::string& name) const;
};

/// Writes an AtomicFile: `path` is always the old file or the whole new one. The old one stays as `previous`
/// unless that is empty. Dense tensors only. Throws std::runtime_error naming the file and the system's
/// reason.
void save_tensors(const std::string& path, const TensorFile&, const std::string& previous = {});

/// Reads and checks everything: header, sizes against the file before any allocation, that the tensors are
/// all of the data, the checksums of header and data where there are any. Throws std::runtime_error naming
/// the file and what is wrong.
TensorFile load_tensors(const std::string& path);

/// The free text of a file alone, without reading its tensors. Throws as load_tensors.
std::map<std::string, std::string> load_metadata(const std::string& path);

}  // namespace rtfq
