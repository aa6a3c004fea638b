#pragma once
// Images of a data set as training cuts from them, shared by worker threads.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "data/prepared_cache.h"
#include "data/transform.h"

namespace rtfq::data {

/// Decodes and standardizes on demand, or takes what a cache on disk holds. Of what was decoded it keeps as
/// much as fits into a budget. Nothing is ever evicted: every epoch visits every image once, and in that
/// pattern keeping a fixed part of them hits as often as any policy can.
class ImageStore {
 public:
  /// `cache` may be null.
  ImageStore(const std::vector<Sample>& samples, const Preparation& preparation, int64_t budget_bytes,
             std::shared_ptr<PreparedCache> cache)
      : samples_(samples),
        preparation_(preparation),
        budget_(budget_bytes),
        cache_(std::move(cache)),
        entries_(samples.size()) {}

  /// Throws what load_image threw, also on later calls, when the file is not tried again.
  std::shared_ptr<const Image> get(uint32_t index);

 private:
  struct Entry {
    std::shared_ptr<const Image> image;
    std::string error;
  };
  const std::vector<Sample>& samples_;
  const Preparation preparation_;
  const int64_t budget_;
  const std::shared_ptr<PreparedCache> cache_;
  int64_t used_ = 0;
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace rtfq::data
