#pragma once
// Switchable, domain-specific batch normalization: running statistics for each (depth, width, resolution,
// bit-width) and domain, scale and shift for each (depth, width) and domain (docs/method.md, "Batch
// normalization").

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ops/ops.h"
#include "models/bank.h"

namespace rtfq {

/// Added to variances; torchvision's.
inline constexpr float norm_epsilon = 1e-5f;

enum class Domain { source = 0, target = 1 };
const char* to_string(Domain);

/// Who has a scale and shift of its own: each (depth, width), or each subnet.
enum class AffineOwner { architecture, subnet };
/// "architecture" or "subnet"; throws std::invalid_argument naming them.
AffineOwner parse_affine_owner(const std::string&);

/// Images up to `end` of a batch belong to `domain`.
struct BatchPart {
  Domain domain;
  int64_t end;
};

enum class NormMode {
  batch,      ///< the batch's statistics, nothing stored (teacher)
  train,      ///< the batch's statistics; running ones follow with momentum
  calibrate,  ///< the batch's statistics; running ones become the average over all batches since reset
  stored      ///< running statistics (evaluation)
};

/// Where a subnet stands in its bank, looked up once per forward pass.
struct SubnetPlace {
  int arch = 0;  ///< depth and width
  int slot = 0;  ///< resolution and bit-width; every bank also has a slot for full precision
};
SubnetPlace place(const Bank&, const Subnet&);
int arch_count(const Bank&);
int slot_count(const Bank&);

class SwitchableNorm {
 public:
  /// `channels`: of the full network.
  SwitchableNorm(const std::string& name, int64_t channels, const Bank&, bool domain_specific, AffineOwner,
                 double momentum);

  /// Where the segments of a batch end that are normalized apart.
  std::vector<int64_t> segment_ends(SubnetPlace, std::span<const BatchPart>);
  /// `x` with the scales, shifts and statistics that normalize it; `taken`: the batch's, where who made x has
  /// them. Throws std::runtime_error when stored statistics are wanted and there are none.
  ops::NormInput input(Tape&, const Variable& x, SubnetPlace, std::span<const BatchPart>, NormMode,
                       const ops::BatchStatistics& taken = {});
  Variable forward(Tape& tape, const Variable& x, SubnetPlace at, std::span<const BatchPart> parts,
                   NormMode mode, const ops::BatchStatistics& taken = {}) {
    return ops::batch_norm(tape, input(tape, x, at, parts, mode, taken));
  }

  /// Has statistics of a subnet.
  bool seen(SubnetPlace, Domain);
  /// Forgets a subnet's running statistics, before calibration.
  void reset(SubnetPlace, Domain);
  /// Scale and shift of one domain become the other's.
  void copy_affine(Domain from, Domain to);
  /// Every scale and shift becomes the leading channels of these, [channels] each.
  void load_affine(std::span<const float> scale, std::span<const float> shift);
  /// Running statistics of the full network at full precision, at every resolution and for both domains; with
  /// `every_architecture` the leading channels also become those of the narrower ones. Other subnets keep
  /// theirs: quantized activations have other statistics.
  void load_statistics(std::span<const float> mean, std::span<const float> variance, bool every_architecture);
  const std::string& name() const { return name_; }
  /// Every scale and shift becomes the leading channels of the full network's at full precision and the
  /// largest resolution.
  void spread_affine();

  /// Running statistics are on `device` from now on; counts stay with the host, which decides by them.
  void move_to(Device device);

  std::vector<Parameter*> parameters();
  /// Running statistics as named tensors: means and variances [slots, channels], counts [slots] (values
  /// averaged; 0: never seen).
  std::vector<std::pair<std::string, Tensor>> buffers();

 private:
  struct Affine {
    std::unique_ptr<Parameter> scale, shift;
  };
  struct Set {  ///< of one domain and one (depth, width)
    std::string prefix;
    std::vector<Affine> affine;  ///< one, or one a slot
    Tensor mean, variance, count;
  };
  /// A part of the batch that is normalized by itself, up to image `end`.
  struct Segment {
    Set* set;
    int64_t end;
  };
  /// Shared norms treat neighbouring parts, and so the whole batch, as one.
  std::vector<Segment> segments(SubnetPlace, std::span<const BatchPart>);
  /// The scale and shift that a slot uses.
  Affine& affine(Set& s, int slot) const {
    return s.affine[s.affine.size() == 1 ? 0 : static_cast<std::size_t>(slot)];
  }
  Set& set(Domain domain, int arch) {
    return sets_[static_cast<std::size_t>(domain_specific_ ? static_cast<int>(domain) : 0)]
                [static_cast<std::size_t>(arch)];
  }
  ops::NormStatistics stored(std::span<Set* const>, int slot) const;
  void update(const Tape&, Set&, int slot, const ops::NormStatistics&, std::size_t segment, NormMode);

  std::string name_;
  std::vector<int> float_slots_;  ///< full precision at each resolution, the largest first
  bool domain_specific_;
  double momentum_;
  std::vector<std::vector<Set>> sets_;  ///< [domain][arch]
};

}  // namespace rtfq
