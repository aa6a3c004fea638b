#pragma once
// Running subnets of a model file: the file in memory, shared; and sessions, each with its own activations,
// threads and chosen subnet.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"
#include "models/deploy/program.h"

namespace rtfq::deploy {

/// A model file in memory with what its sessions share. Constant but for caches, and safe to use from any
/// thread.
class LoadedModel {
 public:
  /// Maps the file, which must not change while it is open (replace it by renaming another one over it), and
  /// checks all of it. Throws std::runtime_error naming the file.
  static std::shared_ptr<LoadedModel> from_file(const std::string& path);
  /// Takes the bytes over. Throws packed::FormatError.
  static std::shared_ptr<LoadedModel> from_bytes(std::vector<unsigned char>);

  const packed::Model& model() const { return *model_; }
  Weights& weights() { return weights_; }
  std::size_t file_bytes() const { return file_.size(); }

  /// What was measured on this machine, milliseconds.
  void set_latency(std::size_t subnet, double milliseconds);
  std::optional<double> latency(std::size_t subnet) const;

 private:
  LoadedModel(std::shared_ptr<const void> owner, packed::Bytes file);
  std::shared_ptr<const void> owner_;
  packed::Bytes file_;
  std::unique_ptr<packed::Model> model_;
  Weights weights_;
  mutable std::mutex mutex_;
  std::map<std::size_t, double> latencies_;
};

/// Whether a file begins as a packed model does. False for what cannot be read.
bool is_packed_model(const std::string& path);

/// Limits on one image's costs; absent: none.
struct Limits {
  std::optional<double> macs, bitops, bytes, memory, latency_ms;
};
/// The subnet of the best score by `criterion` (empty: the file's first) within the limits, of equals the one
/// of fewest BitOPs; where the file has no scores, the one of most BitOPs. Nothing where none fits. Throws
/// std::invalid_argument for a criterion that the file lacks, std::runtime_error for a limit on latencies
/// where nothing was measured; subnets that were not measured do not fit it.
std::optional<std::size_t> select(const LoadedModel&, const Limits&, const std::string& criterion = "");
/// All subnets within the limits other than latency, in the order of preference of select.
std::vector<std::size_t> candidates(const LoadedModel&, const Limits&, const std::string& criterion = "");

struct SessionOptions {
  int threads = 0;                   ///< 0: what OpenMP has
  int64_t batch = 1;                 ///< images that runs come in
  std::vector<std::size_t> subnets;  ///< to switch between; empty: all of the file
};

class Session {
 public:
  /// Makes all its subnets ready: after that, runs and switches allocate no memory for tensors. It begins
  /// with the first of them.
  Session(std::shared_ptr<LoadedModel>, SessionOptions);

  /// Any subnet that the session was made for. Throws std::invalid_argument for others.
  void switch_to(std::size_t subnet);
  std::size_t subnet() const { return current_->subnet(); }

  /// Logits [count, classes] of normalized images [count, r, r, channels] at the subnet's resolution, in
  /// passes over at most a batch; what is left of a pass is padded.
  void run(const float* images, int64_t count, float* logits);
  /// The same from decoded images of the model's channels and of any size, prepared as evaluation does.
  void run(std::span<const data::Image> images, float* logits);

  /// Median milliseconds of a batch over `runs` of them, kept in the model.
  double measure(std::size_t subnet, int runs);

  /// Bytes of the activations' blocks, one for each pass at a time, and of staging.
  std::size_t arena_bytes() const { return arena_bytes_ * arenas_.size() + staging_.size() * sizeof(float); }
  const LoadedModel& loaded() const { return *loaded_; }

 private:
  int64_t image_floats() const;
  void share_out();  ///< what passes are

  std::shared_ptr<LoadedModel> loaded_;
  int threads_;
  int64_t batch_, classes_;
  int64_t pass_ = 1;   ///< images computed together
  int at_a_time_ = 1;  ///< passes side by side, each by one thread; or one, by all
  std::vector<std::unique_ptr<Program>> programs_;  ///< by subnet; null where the session has none
  const Program* current_ = nullptr;
  std::size_t arena_bytes_ = 0;
  std::vector<std::shared_ptr<void>> arenas_;
  std::vector<float> staging_, staged_logits_;
};

/// Normalized values [r, r, channels] of a decoded image, bit for bit as evaluation makes them.
void prepare_image(const packed::Preprocessing&, const data::Image&, int resolution, float* to);

}  // namespace rtfq::deploy
