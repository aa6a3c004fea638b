#pragma once
// A subnet of a packed model made ready to run: weights laid out, kernels chosen, every activation given its
// place in one block of memory. Integers from the first convolution to the classifier; the codes are those of
// evaluation with precision int8 and f32 storage, bit for bit.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/deploy/weights.h"
#include "models/packed/model.h"

namespace rtfq::deploy {

/// Called with every tensor of codes when it has been computed: the quantizer's name, and the codes (s8 of
/// "input", u8 else) of the whole batch, or of one image after the other.
using Observer = std::function<void(const std::string& quantizer, const void* codes, int64_t count)>;

/// A layer with weights: the codes that it multiplies, and who does. Sums are s32.
struct ProductLayer {
  std::string name;  ///< "stage1.block0.conv1"
  rtfq_dtype x, w;
  int64_t k, c, filter;
  std::string operation, kernel;  ///< "convquant.forward" by "vnni"
};

class Program {
 public:
  static constexpr int64_t most_images = 65536;  ///< of a batch

  /// For passes of exactly `batch` images, best by so many threads (0: as many as launches use), right by any
  /// number. `model` and `weights` must outlive it. Throws std::runtime_error where the processor or the
  /// memory do not suffice.
  Program(const packed::Model& model, std::size_t subnet, int64_t batch, Weights& weights, int threads = 0);

  /// Logits [batch, classes] of normalized images [batch, r, r, channels] at the subnet's resolution.
  /// `arena`: arena_bytes() bytes, 64-byte aligned. Allocates no memory for tensors.
  void run(void* arena, const float* images, float* logits, const Observer* observer = nullptr) const;

  std::size_t arena_bytes() const { return static_cast<std::size_t>(arena_bytes_); }
  int64_t batch() const { return batch_; }
  std::size_t subnet() const { return subnet_; }
  /// All convolutions, then the classifier, with what was chosen for them on this processor.
  const std::vector<ProductLayer>& layers() const { return layers_; }

 private:
  friend class Builder;
  struct Pass {
    std::byte* arena;
    const float* images;  ///< that operations read, from `image` of the batch on
    int64_t image;
    float* logits;
    const Observer* observer;
    template <class T>
    T* at(int64_t offset) const {
      return reinterpret_cast<T*>(arena + offset);
    }
    void observe(const std::string& quantizer, const void* codes, int64_t count) const {
      if (observer && *observer && !quantizer.empty()) (*observer)(quantizer, codes, count);
    }
  };
  using Operation = std::function<void(const Pass&)>;

  std::size_t subnet_;
  int64_t batch_, arena_bytes_ = 0, image_floats_ = 0;
  std::vector<Operation> singly_;                  ///< for one image at a time
  std::vector<Operation> operations_;              ///< then, for the batch
  std::vector<std::shared_ptr<const void>> kept_;  ///< what the operations point at
  std::vector<ProductLayer> layers_;
};

}  // namespace rtfq::deploy
