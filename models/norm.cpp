#include "models/norm.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "kernels/running.h"

namespace rtfq {
namespace {

constexpr float epsilon = norm_epsilon;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

bool has_float(const Bank& bank) {
  return std::find(bank.bits.begin(), bank.bits.end(), float_bits) != bank.bits.end();
}

int bit_slots(const Bank& bank) {
  return static_cast<int>(bank.bits.size()) + (has_float(bank) ? 0 : 1);
}

}  // namespace

const char* to_string(Domain domain) {
  return domain == Domain::source ? "source" : "target";
}

int arch_count(const Bank& bank) {
  return static_cast<int>(bank.widths.size() * bank.depths.size());
}
int slot_count(const Bank& bank) {
  return static_cast<int>(bank.resolutions.size()) * bit_slots(bank);
}

SubnetPlace place(const Bank& bank, const Subnet& subnet) {
  Subnet in_bank = subnet;
  const bool extra_float = subnet.bits == float_bits && !has_float(bank);
  if (extra_float) in_bank.bits = bank.bits.front();
  const int index = bank.index(in_bank), bits = static_cast<int>(bank.bits.size());
  const int resolutions = static_cast<int>(bank.resolutions.size());
  const int bit = extra_float ? bits : index % bits, resolution = index / bits % resolutions;
  return {index / (bits * resolutions), resolution * bit_slots(bank) + bit};
}

AffineOwner parse_affine_owner(const std::string& text) {
  if (text == "architecture") return AffineOwner::architecture;
  if (text == "subnet") return AffineOwner::subnet;
  throw std::invalid_argument("[model] norm_affine: expected architecture or subnet, got '" + text + "'");
}

SwitchableNorm::SwitchableNorm(const std::string& name, int64_t channels, const Bank& bank,
                               bool domain_specific, AffineOwner owner, double momentum)
    : name_(name), domain_specific_(domain_specific), momentum_(momentum), sets_(domain_specific ? 2 : 1) {
  Subnet full = bank.largest();
  full.bits = float_bits;
  for (const int resolution : bank.resolutions) {
    full.resolution = resolution;
    float_slots_.push_back(place(bank, full).slot);
  }
  for (std::size_t domain = 0; domain < sets_.size(); ++domain)
    for (double width : bank.widths)
      for (double depth : bank.depths) {
        const int64_t c = scaled_channels(channels, width, bank.multiple), slots = slot_count(bank);
        const std::string prefix =
            name + (domain_specific ? std::string(".") + to_string(static_cast<Domain>(domain)) : "") + ".w" +
            text(width) + ".d" + text(depth);
        const std::vector<float> ones(static_cast<std::size_t>(c), 1.0f),
            unit(static_cast<std::size_t>(c * slots), 1.0f);
        Set s;
        s.prefix = prefix;
        const int64_t owners = owner == AffineOwner::subnet ? slots : 1;
        for (int64_t slot = 0; slot < owners; ++slot) {
          const std::string of = prefix + (owners > 1 ? ".slot" + std::to_string(slot) : "");
          s.affine.push_back(
              {std::make_unique<Parameter>(of + ".scale", ParameterKind::norm, Tensor::from(ones, {c})),
               std::make_unique<Parameter>(of + ".shift", ParameterKind::norm, Tensor::zeros({c}))});
        }
        s.mean = Tensor::zeros({slots, c});
        s.variance = Tensor::from(unit, {slots, c});
        s.count = Tensor::zeros({slots});
        sets_[domain].push_back(std::move(s));
      }
}

void SwitchableNorm::update(const Tape& tape, Set& s, int slot, const ops::NormStatistics& batch,
                            std::size_t segment, NormMode mode) {
  const int64_t c = s.mean.dim(1);
  float& seen = s.count.as<float>()[slot];
  const double n = batch.counts[segment];
  // Training: exponential average of mean and unbiased variance, as the field does, starting from the first
  // batch. Calibration: mean and variance of all values together (Chan et al. 1979), whatever the batch
  // sizes.
  const bool training = mode == NormMode::train;
  const double weight = !training ? n / (seen + n) : seen == 0 ? 1.0 : momentum_;
  const double unbiased = training && n > 1 ? n / (n - 1) : 1.0;
  const int64_t from = static_cast<int64_t>(segment) * c;
  ops::launch<kernels::RunningStatistics>(
      compute_stream(s.mean.device()), {c},
      {s.mean.as<float>() + slot * c, s.variance.as<float>() + slot * c, batch.mean.as<float>() + from,
       batch.variance.as<float>() + from, weight, unbiased, training ? 0.0 : weight * (1 - weight)});
  tape.on_host([&seen, n] { seen = static_cast<float>(seen + n); });
}

std::vector<SwitchableNorm::Segment> SwitchableNorm::segments(SubnetPlace at,
                                                              std::span<const BatchPart> parts) {
  std::vector<Segment> all;
  for (const BatchPart& part : parts) {
    Set& s = set(part.domain, at.arch);
    if (!all.empty() && all.back().set == &s)
      all.back().end = part.end;
    else
      all.push_back({&s, part.end});
  }
  return all;
}

std::vector<int64_t> SwitchableNorm::segment_ends(SubnetPlace at, std::span<const BatchPart> parts) {
  std::vector<int64_t> ends;
  for (const Segment& segment : segments(at, parts)) ends.push_back(segment.end);
  return ends;
}

ops::NormInput SwitchableNorm::input(Tape& tape, const Variable& x, SubnetPlace at,
                                     std::span<const BatchPart> parts, NormMode mode,
                                     const ops::BatchStatistics& taken) {
  ops::NormInput in{x, {}, {}, epsilon};
  std::vector<Set*> used;
  for (const auto& [own_set, end] : segments(at, parts)) {
    used.push_back(own_set);
    Affine& own = affine(*own_set, at.slot);
    in.segments.push_back({end, tape.leaf(*own.scale), tape.leaf(*own.shift)});
  }
  if (mode == NormMode::stored) {
    if (tape.recording())
      throw std::logic_error("[norm] stored statistics are for evaluation, without a recording tape");
    in.statistics = stored(used, at.slot);
    return in;
  }
  in.statistics = ops::norm_statistics(tape.stream(), x.data, in.segments, epsilon, taken);
  if (mode != NormMode::batch)
    for (std::size_t i = 0; i < used.size(); ++i) update(tape, *used[i], at.slot, in.statistics, i, mode);
  return in;
}

ops::NormStatistics SwitchableNorm::stored(std::span<Set* const> sets, int slot) const {
  const Tensor& like = sets.front()->mean;
  const Dims dims{static_cast<int64_t>(sets.size()), like.dim(1)};
  ops::NormStatistics all;
  if (sets.size() > 1) {  // else the stored ones serve as they are
    all.mean = Tensor::empty(dims, DType::f32, like.device());
    all.variance = Tensor::empty(dims, DType::f32, like.device());
  }
  for (int64_t i = 0; i < dims[0]; ++i) {
    const Set& s = *sets[static_cast<std::size_t>(i)];
    if (s.count.as<float>()[slot] == 0)
      throw std::runtime_error("[norm] " + name_ + " has no statistics for this subnet: calibrate it first");
    const Tensor mean = s.mean.slice(0, slot, 1), variance = s.variance.slice(0, slot, 1);
    if (sets.size() == 1) return {mean, variance, {}};
    all.mean.slice(0, i, 1).copy_from(mean);
    all.variance.slice(0, i, 1).copy_from(variance);
  }
  return all;
}

bool SwitchableNorm::seen(SubnetPlace at, Domain domain) {
  return set(domain, at.arch).count.as<float>()[at.slot] > 0;
}

void SwitchableNorm::reset(SubnetPlace at, Domain domain) {
  set(domain, at.arch).count.as<float>()[at.slot] = 0;
}

void SwitchableNorm::copy_affine(Domain from, Domain to) {
  if (!domain_specific_) return;
  for (std::size_t arch = 0; arch < sets_[0].size(); ++arch) {
    const Set &a = set(from, static_cast<int>(arch)), &b = set(to, static_cast<int>(arch));
    for (std::size_t i = 0; i < a.affine.size(); ++i) {
      b.affine[i].scale->value.copy_from(a.affine[i].scale->value);
      b.affine[i].shift->value.copy_from(a.affine[i].shift->value);
    }
  }
}

void SwitchableNorm::load_affine(std::span<const float> scale, std::span<const float> shift) {
  const auto load = [](std::span<const float> values, const Tensor& into) {
    const std::size_t c = static_cast<std::size_t>(into.count());
    into.copy_from(Tensor::from(values.first(c), into.dims(), into.device()));
  };
  for (auto& archs : sets_)
    for (Set& s : archs)
      for (Affine& own : s.affine) {
        load(scale, own.scale->value);
        load(shift, own.shift->value);
      }
}

void SwitchableNorm::load_statistics(std::span<const float> mean, std::span<const float> variance,
                                     bool every_architecture) {
  for (auto& archs : sets_)
    for (std::size_t arch = 0; arch < (every_architecture ? archs.size() : 1); ++arch) {
      Set& s = archs[arch];
      const int64_t c = s.mean.dim(1);
      for (const int slot : float_slots_) {
        const auto load = [&](std::span<const float> values, const Tensor& into) {
          into.slice(0, slot, 1)
              .copy_from(Tensor::from(values.first(static_cast<std::size_t>(c)), {1, c}, into.device()));
        };
        load(mean, s.mean);
        load(variance, s.variance);
        s.count.as<float>()[slot] = 1;
      }
    }
}

void SwitchableNorm::spread_affine() {
  for (auto& archs : sets_) {
    const Affine& full = affine(archs[0], float_slots_.front());
    for (Set& s : archs)
      for (Affine& own : s.affine) {
        if (&own == &full) continue;
        const int64_t c = own.scale->value.count();
        own.scale->value.copy_from(full.scale->value.leading(0, c));
        own.shift->value.copy_from(full.shift->value.leading(0, c));
      }
  }
}

void SwitchableNorm::move_to(Device device) {
  for (auto& archs : sets_)
    for (Set& s : archs) {
      s.mean = s.mean.to(device);
      s.variance = s.variance.to(device);
    }
}

std::vector<Parameter*> SwitchableNorm::parameters() {
  std::vector<Parameter*> all;
  for (auto& archs : sets_)
    for (Set& s : archs)
      for (Affine& own : s.affine) all.insert(all.end(), {own.scale.get(), own.shift.get()});
  return all;
}

std::vector<std::pair<std::string, Tensor>> SwitchableNorm::buffers() {
  std::vector<std::pair<std::string, Tensor>> all;
  for (auto& archs : sets_)
    for (Set& s : archs) {
      all.emplace_back(s.prefix + ".mean", s.mean);
      all.emplace_back(s.prefix + ".variance", s.variance);
      all.emplace_back(s.prefix + ".count", s.count);
    }
  return all;
}

}  // namespace rtfq
