#pragma once
// Batches of decoded, augmented images, prepared ahead by worker threads.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/transform.h"

namespace rtfq::data {

/// pixels: [n, height, width, channels].
struct Batch {
  int n = 0, height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> plain;     ///< the same images as evaluation sees them, with LoaderOptions::plain_view
  std::vector<int32_t> labels;    ///< n, or empty when the data set is not labelled
  std::vector<uint32_t> indices;  ///< n, into Dataset::samples
};

/// What happens when a file cannot be decoded.
enum class BadImages {
  error,  ///< next() throws
  skip    ///< training takes the next good sample of the data set instead; evaluation drops it
};

struct LoaderOptions {
  int batch = 32;  ///< images of this rank
  int resolution = 224;
  int channels = 3;
  Decoding decoding;
  Augmentation augmentation;  ///< evaluation uses only what prepare() does
  bool training = true;
  bool augmented = true;    ///< of training: false shows images as evaluation does, in training's order
  bool plain_view = false;  ///< of training: also the images without augmentation, Batch::plain
  uint64_t seed = 1;
  uint32_t stream = 0;  ///< distinguishes loaders of one seed: 0 source, 1 target; below 256
  int threads = 2;
  int64_t cache_bytes = 0;   ///< decoded images kept in memory, up to so many bytes
  std::string cache_folder;  ///< of prepared images on disk (data/prepared_cache.h); empty: none
  /// What a user should know, such as that prepared images are being made.
  std::function<void(const std::string&)> say = [](const std::string&) {};
  BadImages bad_images = BadImages::error;
  int rank = 0, ranks = 1;  ///< step s of rank r takes batch s * ranks + r
};

/// Training: batches without end. Epoch e visits the samples in a Philox permutation of its own (seed,
/// stream, e), and batches run across epoch borders, so no sample is dropped or repeated. The batch of a step
/// is a pure function of data set, options and step: the same at any thread count and after any seek.
/// Evaluation: in order, the last batch shorter; after it, next() returns batches with n = 0.
/// With BadImages::skip and an image that fails in evaluation, a batch may be shorter than the others or even
/// empty: loop over steps_per_epoch(), not until n = 0. One thread calls next() and seek().
class Loader {
 public:
  /// Throws std::invalid_argument for an empty data set or impossible options.
  Loader(Dataset dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The batch of the current step, which then advances. An error of a worker is thrown here, at the step it
  /// belongs to, and again until seek() moves away.
  Batch next();
  /// Cheap; what was prepared for other steps is dropped.
  void seek(uint64_t step);
  uint64_t step() const;
  /// Training: batches in one pass over the data set, rounded up. Evaluation: number of batches.
  int64_t steps_per_epoch() const;
  /// Distinct bad images met so far in batches that next() returned (BadImages::skip).
  int64_t skipped() const;
  /// Time that next() spent waiting for workers.
  double wait_seconds() const;
  const Dataset& dataset() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rtfq::data
