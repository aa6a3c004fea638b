#pragma once
// Random numbers by name: a seed, a purpose and an index (step, image, epoch) determine a stream, whatever
// the thread count, the device or what was drawn before. Nothing to save in a checkpoint but the seed and the
// step.

#include <cstdint>
#include <vector>

#include "kernels/philox.h"

namespace rtfq {

/// What a stream is for; each purpose draws independent numbers.
enum class Purpose : uint32_t {
  initialization = 1,
  order = 2,
  augmentation = 3,
  sampler = 4,
  test = 5,
  glyphs = 6
};

class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint64_t index = 0, uint32_t subindex = 0)
      : key_(seed),
        high_(index ^ (uint64_t{subindex} << 40)),
        purpose_(static_cast<uint64_t>(purpose) << 56) {}

  uint32_t integer();
  /// Uniform in [0, bound), by rejection: every value equally likely. Throws std::invalid_argument for 0.
  uint32_t below(uint32_t bound);
  /// Uniform in [0, 1), 24 bits.
  float uniform() { return static_cast<float>(integer() >> 8) * 0x1p-24f; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Standard normal (Box-Muller).
  float normal();
  /// A permutation of 0..count-1 (Fisher-Yates).
  std::vector<uint32_t> permutation(uint32_t count);

 private:
  uint64_t key_, high_, purpose_;
  uint64_t counter_ = 0;
  std::array<uint32_t, 4> block_{};
  int left_ = 0;
};

}  // namespace rtfq
