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
        quantized_(subnet.bits != float_bits),
        ends_(quantized_ && options.first_last_bits ? options.first_last_bits : subnet.bits) {}

  int64_t peak() {
    const auto convs = plan(spec_, subnet_, options_.bank.multiple, options_.image_channels);
    auto conv = convs.begin();
    const int64_t r = subnet_.resolution;
    const auto image = plan_.write(bytes(r * r * options_.image_channels, bits("input", ends_)));
    int64_t channels = conv->k, size = output(*conv++);
    if (spec_.stem_pool) {
      const auto sums = plan_.write(bytes(size * size * channels, float_bits));
      plan_.run({image});
      size = (size + 1) / 2;
      produce("stem", size * size * channels, 0, 0);
      plan_.run({sums});
    } else {
      produce("stem", size * size * channels, 0, 0);
      plan_.run({image});
    }
    for (std::size_t stage = 0; stage < spec_.blocks.size(); ++stage)
      for (int64_t i = 0; i < scaled_blocks(spec_.blocks[stage], subnet_.depth); ++i) {
        const std::string block = conv->name.substr(0, conv->name.rfind('.'));
        MemoryPlan::Buffer inner = codes_;
        for (int number = 1; number <= (spec_.bottleneck ? 2 : 1); ++number, ++conv) {
          const int width = bits(block + ".inner" + std::to_string(number), subnet_.bits);
          const auto next = plan_.write(bytes(output(*conv) * output(*conv) * conv->k, width));
          plan_.run({inner});
          inner = next;
        }
        const auto last = conv++;
        const int64_t sums = output(*last) * output(*last) * last->k;
        MemoryPlan::Buffer shortcut = identity_;
        if (spec_.projects(stage, i)) {
          shortcut = plan_.write(bytes(sums, float_bits));
          plan_.run({codes_});
          ++conv;
        }
        produce(block, sums, stage, i + 1);
        plan_.run({inner, shortcut});
        channels = last->k;
      }
    const auto pooled = plan_.write(bytes(channels, bits("features", ends_)));
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
  /// Of a quantizer that is asked for `asked` bits.
  int bits(const std::string& quantizer, int asked) const {
    const int own = quantized_ ? own_bits(options_.bits_exceptions, quantizer) : 0;
    return own ? own : asked;
  }

  /// The forms of the sum of `block` (or the stem) that block `next` of `stage`, or what comes after it,
  /// reads: codes for convolutions and, unless it is the same tensor or a projection takes its place, the
  /// identity path's own.
  void produce(const std::string& block, int64_t elements, std::size_t stage, int64_t next) {
    if (next > 0 && next == scaled_blocks(spec_.blocks[stage], subnet_.depth)) ++stage, next = 0;
    const bool last = stage == spec_.blocks.size();
    const bool shared = !quantized_ || options_.residual == Residual::codes;
    const std::string name = block + ".output";
    if (!last || shared) codes_ = identity_ = plan_.write(bytes(elements, bits(name, subnet_.bits)));
    if (shared || (!last && spec_.projects(stage, next))) return;
    const bool eight = options_.residual == Residual::eight_bits;
    identity_ = plan_.write(bytes(elements, eight ? bits(name + ".identity", 8) : float_bits));
  }

  const SupernetOptions& options_;
  const ResNetSpec spec_;
  const Subnet& subnet_;
  bool quantized_;
  int ends_;
  MemoryPlan plan_;
  MemoryPlan::Buffer codes_ = 0, identity_ = 0;
};

}  // namespace

int64_t activation_peak(const SupernetOptions& options, const Subnet& subnet) {
  return Walk(options, subnet).peak();
}

}  // namespace rtfq
