#pragma once
// Python's pickles as data. Nothing is imported, called or executed: a pickle becomes a tree of values in
// which a call is a node with the callee's name and its arguments, and a callee that is not on the caller's
// list is refused by name.

#include <string>
#include <utility>
#include <vector>

#include "engine/formats/bytes.h"

namespace rtfq::formats {

/// A node of a Pickle, by number: trees of any depth and with cycles need no recursion to be freed.
using PickleId = uint32_t;

struct PickleNode {
  enum class Kind {
    none,
    boolean,     ///< `integer` is 0 or 1
    integer,     ///< `integer`; one of more than 64 bits has its little-endian bytes in `text`
    real,        ///< `real`
    text,        ///< `text`
    bytes,       ///< `text`
    sequence,    ///< tuple, list or set: `children`
    dictionary,  ///< `items`
    global,      ///< `text`: "torch.FloatStorage"
    call,        ///< `text` called with the sequence children[0]; `items` and more children set on the result
    persistent   ///< an object kept outside of the pickle, known by children[0]
  };
  Kind kind = Kind::none;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<PickleId> children;
  std::vector<std::pair<PickleId, PickleId>> items;
};

struct Pickle {
  std::vector<PickleNode> nodes;
  PickleId root = 0;

  const PickleNode& operator[](PickleId id) const { return nodes[id]; }
  const PickleNode& top() const { return nodes[root]; }
};

/// Reads one pickle (protocols 0 to 5) from `position` on, which then stands behind it. `known`: the globals
/// that may be named, "module.name"; any other one, extension codes and out-of-band buffers are refused.
/// Every step of the machine consumes a byte, and a pickle of more than 2^22 values is refused. Throws
/// FormatError.
Pickle read_pickle(Bytes bytes, std::size_t& position, std::span<const char* const> known);

}  // namespace rtfq::formats
