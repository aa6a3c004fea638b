#pragma once
// One block of memory for all activations of a pass: buffers that are not alive together share bytes.

#include <cstdint>
#include <vector>

namespace rtfq::deploy {

class Arena {
 public:
  using Buffer = std::size_t;
  /// A buffer that the next operation writes; it lives until the last operation that keeps it.
  Buffer add(int64_t bytes);
  /// The same, but nothing before it may lie there either: operations before are repeated.
  Buffer add_kept(int64_t bytes);
  /// Ends an operation that reads `buffers`.
  void operation(std::initializer_list<Buffer> reads);
  /// Places all buffers; to be called once, after the last operation. Bytes of the block.
  int64_t place();
  /// Where a buffer begins, a multiple of 64; after place().
  int64_t offset(Buffer buffer) const { return buffers_[buffer].offset; }

 private:
  struct Life {
    int64_t bytes;
    std::size_t first, last;
    int64_t offset = 0;
  };
  std::vector<Life> buffers_;
  std::size_t operations_ = 0;
};

}  // namespace rtfq::deploy
