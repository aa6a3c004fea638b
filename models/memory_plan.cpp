#include "models/memory_plan.h"

#include <algorithm>

#include "models/supernet.h"

namespace rtfq {

MemoryPlan::Buffer MemoryPlan::write(int64_t bytes) {
  buffers_.push_back({bytes, operations_, operations_});
  return buffers_.size() - 1;
}

void MemoryPlan::run(std::initializer_list<Buffer> reads) {
  for (const Buffer buffer : reads) buffers_[buffer].last = operations_;
  ++operations_;
}

int64_t MemoryPlan::peak() const {
  int64_t highest = 0;
  for (std::size_t operation = 0; operation < operations_; ++operation) {
    int64_t alive = 0;
    for (const Life& life : buffers_)
      if (life.first <= operation && operation <= life.last) alive += life.bytes;
    highest = std::max(highest, alive);
  }
  return highest;
}

namespace {

/// The walk of Supernet::forward, tensors at their deployed widths.
class Walk {
 public:
  Walk(const SupernetOptions& options, const Subnet& subnet)
      : options_(options),
        spec_(resnet_spec(options.arch)),
        subnet_(subnet),
        quantized_(subnet.bits != float_bits) {
    ends_ = quantized_ && options.first_last_bits ? options.first_last_bits : subnet.bits;
    if (!quantized_ || options.residual == Residual::codes)
      identity_bits_ = 0;
    else
      identity_bits_ = options.residual == Residual::eight_bits ? 8 : float_bits;
  }

  int64_t peak() {
    const auto convs = plan(spec_, subnet_, options_.bank.multiple, options_.image_channels);
    auto conv = convs.begin();
    const int64_t r = subnet_.resolution;
    const auto image = plan_.write(bytes(r * r * options_.image_channels, ends_));
    const int64_t c = conv->k;
    int64_t size = output(*conv++);
    if (spec_.stem_pool) {
      const auto sums = plan_.write(bytes(size * size * c, float_bits));
      plan_.run({image});
      size = (size + 1) / 2;
      produce(size * size * c, 0, 0);
      plan_.run({sums});
    } else {
      produce(size * size * c, 0, 0);
      plan_.run({image});
    }
    int64_t features = c;
    for (std::size_t stage = 0; stage < spec_.blocks.size(); ++stage)
      for (int64_t block = 0; block < scaled_blocks(spec_.blocks[stage], subnet_.depth); ++block) {
        MemoryPlan::Buffer inner = codes_;
        for (int i = 0; i < (spec_.bottleneck ? 2 : 1); ++i, ++conv) {
          const auto next = plan_.write(bytes(output(*conv) * output(*conv) * conv->k, subnet_.bits));
          plan_.run({inner});
          inner = next;
        }
        const auto last = conv++;
        const int64_t sums = output(*last) * output(*last) * last->k;
        MemoryPlan::Buffer shortcut = identity_;
        if (spec_.projects(stage, block)) {
          shortcut = plan_.write(bytes(sums, float_bits));
          plan_.run({codes_});
          ++conv;
        }
        produce(sums, stage, block + 1);
        plan_.run({inner, shortcut});
        features = last->k;
      }
    const auto pooled = plan_.write(bytes(features, ends_));
    plan_.run({identity_});
    plan_.write(bytes(options_.classes, float_bits));
    plan_.run({pooled});
    return plan_.peak();
  }

 private:
  static int64_t bytes(int64_t elements, int bits) { return (elements * bits + 7) / 8; }
  static int64_t output(const ConvPlan& conv) {
    return (conv.h + 2 * (conv.filter / 2) - conv.filter) / conv.stride + 1;
  }

  /// The forms of a block's sum that block `next` of `stage`, or what comes after it, reads: codes for
  /// convolutions and, unless it is the same tensor or a projection takes its place, the identity path's own.
  void produce(int64_t elements, std::size_t stage, int64_t next) {
    if (next > 0 && next == scaled_blocks(spec_.blocks[stage], subnet_.depth)) ++stage, next = 0;
    const bool last = stage == spec_.blocks.size();
    if (!last || identity_bits_ == 0) codes_ = identity_ = plan_.write(bytes(elements, subnet_.bits));
    if (identity_bits_ && (last || !spec_.projects(stage, next)))
      identity_ = plan_.write(bytes(elements, identity_bits_));
  }

  const SupernetOptions& options_;
  const ResNetSpec spec_;
  const Subnet& subnet_;
  bool quantized_;
  int ends_ = 0, identity_bits_ = 0;  ///< identity_bits_ 0: the codes themselves
  MemoryPlan plan_;
  MemoryPlan::Buffer codes_ = 0, identity_ = 0;
};

}  // namespace

int64_t activation_peak(const SupernetOptions& options, const Subnet& subnet) {
  return Walk(options, subnet).peak();
}

}  // namespace rtfq
