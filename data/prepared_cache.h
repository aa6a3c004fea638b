#pragma once
// Standardized images of a data set in one file on disk, so that later epochs and other runs decode nothing.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "data/transform.h"

namespace rtfq::data {

/// How a file becomes a standardized image: everything that decides its bytes.
struct Preparation {
  int channels = 3;
  Decoding decoding;
  Augmentation augmentation;  ///< what standardize() reads of it
};

/// Decodes and standardizes one file. Throws as load_image does.
Image prepare_file(const std::string& path, const Preparation&);

/// A file FOLDER/NAME.images, NAME standing for the paths of the samples, in their order, and for the
/// preparation; labels do not matter. It is made when it is opened for the first time: written beside its
/// place and renamed, while other processes that want it wait at a lock. Images whose files have changed
/// since (size or time of modification) are decoded anew, the others copied; a file that is truncated or
/// whose index is damaged is made anew. Reading is by memory map; the first reading of an image compares its
/// checksum.
class PreparedCache {
 public:
  using Say = std::function<void(const std::string&)>;

  /// Null where the file can neither be used nor be made, a full disk for instance: `say` is told why, and
  /// the caller decodes. `threads` decode.
  static std::shared_ptr<PreparedCache> open(const std::string& folder, const std::string& origin,
                                             const std::vector<Sample>& samples, const Preparation&,
                                             int threads, const Say& say);
  ~PreparedCache();
  PreparedCache(const PreparedCache&) = delete;
  PreparedCache& operator=(const PreparedCache&) = delete;

  /// A copy of the image. Null where its bytes in the file are damaged: the file is then removed, so that the
  /// next run makes it anew. Throws std::runtime_error with what decoding said of a bad file. Any thread.
  std::shared_ptr<const Image> get(uint32_t index);

  const std::string& path() const { return path_; }

 private:
  struct Entry;
  PreparedCache(std::string path, int channels, Say say);
  bool map(const std::vector<Sample>& samples, std::string* why);

  std::string path_;
  int channels_;
  Say say_;
  const uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
  std::span<const Entry> entries_;
  std::unique_ptr<std::atomic<bool>[]> verified_;  ///< by index: the checksum was compared
  std::atomic<bool> damaged_{false};

  friend class CacheBuilder;
};

}  // namespace rtfq::data
