#pragma once
// How much memory inference needs: which tensors are alive at the same time.

#include <cstdint>
#include <vector>

namespace rtfq {

/// Operations in the order they run, and the buffers that they write and read. A buffer lives from the
/// operation that writes it to the last one that reads it; what an operation reads and what it writes are
/// alive together (nothing is computed in place).
class MemoryPlan {
 public:
  using Buffer = std::size_t;
  /// A buffer of `bytes` that the next operation writes.
  Buffer write(int64_t bytes);
  /// Ends the next operation, which reads `buffers`.
  void run(std::initializer_list<Buffer> reads);
  /// The largest sum of buffers alive at an operation, in bytes.
  int64_t peak() const;

 private:
  struct Life {
    int64_t bytes;
    std::size_t first, last;
  };
  std::vector<Life> buffers_;
  std::size_t operations_ = 0;
};

}  // namespace rtfq
