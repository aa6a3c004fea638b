#pragma once
// Zip archives as torch.save and numpy.savez write them: stored entries, zip64 included. Compressed or
// encrypted entries are refused by name; their data is never unpacked.

#include <string>
#include <vector>

#include "engine/formats/bytes.h"

namespace rtfq::formats {

struct ZipEntry {
  std::string name;
  Bytes data;         ///< of a stored entry
  bool stored = true;  ///< not compressed
};

/// A zip archive begins with a local header, or is empty.
bool looks_like_zip(Bytes);

/// The entries in the order of the central directory, their data being parts of `file`. Sizes, offsets and
/// checksums are verified (one of 0 stands for none); encrypted entries are refused. Throws FormatError.
std::vector<ZipEntry> read_zip(Bytes file);

}  // namespace rtfq::formats
