#pragma once
// Decoded images of a data set, shared by worker threads.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace rtfq::data {

/// Decodes on demand and keeps what fits into a budget. Nothing is ever evicted: every epoch visits every
/// image once, and in that pattern keeping a fixed part of them hits as often as any policy can.
class ImageStore {
 public:
  ImageStore(const std::vector<Sample>& samples, int channels, int64_t budget_bytes)
      : samples_(samples), channels_(channels), budget_(budget_bytes), entries_(samples.size()) {}

  /// Throws what load_image threw, also on later calls, when the file is not tried again.
  std::shared_ptr<const Image> get(uint32_t index);

 private:
  struct Entry {
    std::shared_ptr<const Image> image;
    std::string error;
  };
  const std::vector<Sample>& samples_;
  const int channels_;
  const int64_t budget_;
  int64_t used_ = 0;
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace rtfq::data
