#pragma once
// A layer between two convolutions with random operands: the fused passes on it, and the operators that they
// stand for.

#include "kernels/batchnorm.h"
#include "kernels/bf16.h"
#include "kernels/elementwise.h"
#include "kernels/fakequant.h"
#include "kernels/normquant.h"
#include "tests/kernels/launch.h"

namespace rtfq::test {

using namespace rtfq::kernels;
using Floats = std::vector<float>;

/// Memory as the engine's pool gives it: results of launches may be stored past the caches.
template <class T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), alignment)); }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, alignment); }
  bool operator==(const Aligned&) const = default;
};
using Bytes = std::vector<uint8_t, Aligned<uint8_t>>;

inline Bytes bytes_of(const Floats& x, rtfq_dtype type) {
  Bytes bytes(x.size() * (type == RTFQ_BF16 ? 2 : 4));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bf16 narrow = to_bf16(x[i]);
    type == RTFQ_BF16 ? std::memcpy(&bytes[2 * i], &narrow, 2) : std::memcpy(&bytes[4 * i], &x[i], 4);
  }
  return bytes;
}

inline Floats floats_of(const Bytes& bytes, rtfq_dtype type) {
  Floats x(bytes.size() / (type == RTFQ_BF16 ? 2 : 4));
  for (std::size_t i = 0; i < x.size(); ++i) {
    bf16 narrow{};
    if (type == RTFQ_BF16)
      std::memcpy(&narrow, &bytes[2 * i], 2), x[i] = to_float(narrow);
    else
      std::memcpy(&x[i], &bytes[4 * i], 4);
  }
  return x;
}

/// One norm's channels, all segments.
struct NormChannels {
  NormChannels(int64_t size, uint64_t seed)
      : mean(normal(size, seed)),
        variance(normal(size, seed + 1)),
        scale(normal(size, seed + 2)),
        shift(normal(size, seed + 3)) {
    for (float& v : variance) v = v * v + 0.1f;
  }
  Floats mean, variance, scale, shift;
};

/// Everything that the passes give. What a shape has not stays empty.
struct NormQuantResult {
  Bytes codes;
  Bytes identity;  ///< as stored
  Bytes g_z;
  Floats sum_g, sum_gx, other_sum_gx;
  Floats steps;  ///< ds, identity_ds
  Bytes dx, other_dx;
};

struct NormQuantLayer {
  NormQuantShape shape;
  NormChannels main, other;
  Bytes x, other_x, residual, g_codes, g_identity;  ///< of norm.type
  Bytes residual_codes;
  float residual_step = 0.3f, step = 0.21f, identity_step = 0.0137f;
  bool has_g_codes = true, has_g_identity = true, stores_g_z = true, wants_ds = true;
  Backend backend = Backend::cpu;
  std::ptrdiff_t skipped = 0;  ///< bytes in front of x

  explicit NormQuantLayer(const NormQuantShape& s)
      : shape(s), main(s.norm.segments * s.norm.c, 3), other(s.norm.segments * s.norm.c, 13) {
    const auto draw = [&](uint64_t seed) { return bytes_of(normal(count(), seed), s.norm.type); };
    x = draw(21), other_x = draw(22), residual = draw(23), g_codes = draw(24), g_identity = draw(25);
    for (const float v : normal(count(), 26)) residual_codes.push_back(static_cast<uint8_t>(std::abs(v) * 3));
  }
  int64_t count() const { return shape.norm.n * shape.norm.hw * shape.norm.c; }
  std::size_t channels() const { return main.mean.size(); }

  /// The same numbers, held in f32.
  NormQuantLayer widened() const {
    NormQuantLayer wide = *this;
    wide.shape.norm.type = RTFQ_F32;
    for (Bytes* bytes : {&wide.x, &wide.other_x, &wide.residual, &wide.g_codes, &wide.g_identity})
      *bytes = bytes_of(floats_of(*bytes, shape.norm.type), RTFQ_F32);
    return wide;
  }

  /// The same images several times in the last segment, the only one.
  NormQuantLayer repeated(int64_t times) const {
    NormQuantLayer many = *this;
    many.shape.norm.n = many.shape.norm.segment_end[0] = shape.norm.n * times;
    for (Bytes* bytes :
         {&many.x, &many.other_x, &many.residual, &many.residual_codes, &many.g_codes, &many.g_identity})
      *bytes = repeat(*bytes, times);
    return many;
  }
  static Bytes repeat(const Bytes& once, int64_t times) {
    Bytes all;
    all.reserve(once.size() * static_cast<std::size_t>(times));
    for (int64_t i = 0; i < times; ++i) all.insert(all.end(), once.begin(), once.end());
    return all;
  }

  NormQuantOperands operands() const {
    NormQuantOperands in{};
    const auto fill = [&](NormQuantInput& to, const Bytes& values, const NormChannels& from) {
      to.x = values.data() + (&values == &x ? skipped : 0);
      to.mean = from.mean.data();
      to.variance = from.variance.data();
      for (int i = 0; i < shape.norm.segments; ++i) {
        to.scale[i] = from.scale.data() + i * shape.norm.c;
        to.shift[i] = from.shift.data() + i * shape.norm.c;
      }
    };
    fill(in.main, x, main);
    if (shape.residual == RTFQ_RESIDUAL_NORM) fill(in.other, other_x, other);
    if (shape.residual == RTFQ_RESIDUAL_VALUES) in.residual = residual.data();
    if (shape.residual == RTFQ_RESIDUAL_CODES)
      in.residual = residual_codes.data(), in.residual_step = &residual_step;
    in.step = &step;
    if (shape.identity == RTFQ_IDENTITY_CODES) in.identity_step = &identity_step;
    return in;
  }

  NormQuantResult run(const std::string& name) const {
    NormQuantResult r;
    forward(name, r);
    reduce(name, r);
    apply(name, r);
    return r;
  }

  void forward(const std::string& name, NormQuantResult& r) const {
    r.codes.resize(static_cast<std::size_t>(count()), 0xcc);
    r.identity.resize(shape.identity == RTFQ_IDENTITY_NONE    ? 0
                      : shape.identity == RTFQ_IDENTITY_CODES ? r.codes.size()
                                                              : x.size());
    implementation<NormQuantForward>(name, backend)
        .launch(shape, {operands(), r.codes.data(), r.identity.empty() ? nullptr : r.identity.data()},
                {{backend, 0}});
  }

  void reduce(const std::string& name, NormQuantResult& r) const {
    const auto& impl = implementation<NormQuantReduce>(name, backend);
    catalog::Buffer workspace(impl.workspace(shape));
    const bool two = shape.residual == RTFQ_RESIDUAL_NORM, codes = shape.identity == RTFQ_IDENTITY_CODES;
    r.g_z.resize(stores_g_z ? x.size() : 0);
    r.sum_g.resize(channels()), r.sum_gx.resize(channels()), r.other_sum_gx.resize(two ? channels() : 0);
    r.steps = {0.5f, codes ? 0.25f : 0.0f};
    NormQuantReduceArgs a{};
    a.in = operands();
    if (has_g_codes) a.g_codes = g_codes.data();
    if (has_g_identity && shape.identity != RTFQ_IDENTITY_NONE) a.g_identity = g_identity.data();
    if (stores_g_z) a.g_z = r.g_z.data();
    a.sum_g = r.sum_g.data(), a.sum_gx = r.sum_gx.data();
    if (two) a.other_sum_gx = r.other_sum_gx.data();
    if (wants_ds) a.ds = &r.steps[0];
    if (wants_ds && codes) a.identity_ds = &r.steps[1];
    a.grad_scale = 0.01f, a.identity_grad_scale = 0.02f;
    a.workspace = workspace.data();
    impl.launch(shape, a, {{backend, 0}});
    if (!workspace.guards_intact()) throw std::runtime_error("wrote outside the workspace");
  }

  void apply(const std::string& name, NormQuantResult& r) const {
    const bool two = shape.residual == RTFQ_RESIDUAL_NORM;
    NormQuantApplyArgs a{};
    a.in = operands();
    if (stores_g_z) {
      a.g_z = r.g_z.data();
    } else {
      if (has_g_codes) a.g_codes = g_codes.data();
      if (has_g_identity && shape.identity != RTFQ_IDENTITY_NONE) a.g_identity = g_identity.data();
    }
    a.sum_g = r.sum_g.data(), a.sum_gx = r.sum_gx.data(),
    a.other_sum_gx = two ? r.other_sum_gx.data() : nullptr;
    for (int i = 0; i < shape.norm.segments; ++i)
      a.counts[i] = static_cast<float>(rtfq::kernels::count(shape.norm, i));
    r.dx.resize(x.size()), r.other_dx.resize(two ? x.size() : 0);
    a.dx = r.dx.data();
    if (two) a.other_dx = r.other_dx.data();
    implementation<NormQuantApply>(name, backend).launch(shape, a, {{backend, 0}});
  }

  /// z by the unfused operators, in f32.
  Floats unfused_sum() const {
    Floats z = normalized(x, main);
    if (shape.residual == RTFQ_RESIDUAL_NONE) return z;
    Floats more;
    if (shape.residual == RTFQ_RESIDUAL_VALUES) more = floats_of(residual, RTFQ_F32);
    if (shape.residual == RTFQ_RESIDUAL_CODES)
      for (const uint8_t code : residual_codes) more.push_back(static_cast<float>(code) * residual_step);
    if (shape.residual == RTFQ_RESIDUAL_NORM) more = normalized(other_x, other);
    implementation<Add>("avx2").launch({count(), RTFQ_F32}, {z.data(), more.data(), z.data()}, {});
    return z;
  }

  /// Fused or not, the same f32 numbers; `sums` gives what apply reads.
  NormQuantResult unfused(const NormQuantResult& sums) const {
    NormQuantResult r;
    const Floats z = unfused_sum();
    const auto codes_shape = make_fakequant_shape(count(), {0, shape.qp}),
               identity_shape = make_fakequant_shape(count(), {0, shape.identity_qp});
    const ElementwiseShape dense{count(), RTFQ_F32};
    r.codes.resize(z.size());
    implementation<FakeQuantForward>("avx2").launch(codes_shape, {z.data(), &step, nullptr, r.codes.data()},
                                                    {});
    Floats relu(z.size()), g(z.size()), more(z.size());
    r.steps = {0.5f, shape.identity == RTFQ_IDENTITY_CODES ? 0.25f : 0.0f};
    const auto& backward = implementation<FakeQuantBackward>("avx2");
    const auto quantizer = [&](const FakeQuantShape& s, const Bytes& of, float of_step, Floats& to, float* ds,
                               float scale) {
      catalog::Buffer workspace(backward.workspace(s));
      backward.launch(s, {of.data(), z.data(), &of_step, to.data(), false, ds, scale, workspace.data()}, {});
    };
    if (has_g_codes) quantizer(codes_shape, g_codes, step, g, &r.steps[0], 0.01f);
    if (shape.identity == RTFQ_IDENTITY_CODES) {
      r.identity.resize(z.size());
      implementation<FakeQuantForward>("avx2").launch(
          identity_shape, {z.data(), &identity_step, nullptr, r.identity.data()}, {});
      if (has_g_identity) quantizer(identity_shape, g_identity, identity_step, more, &r.steps[1], 0.02f);
    }
    if (shape.identity == RTFQ_IDENTITY_VALUES) {
      implementation<ReluForward>("avx2").launch(dense, {z.data(), relu.data()}, {});
      r.identity = bytes_of(relu, RTFQ_F32);
      if (has_g_identity)
        implementation<ReluBackward>("avx2").launch(dense, {g_identity.data(), relu.data(), more.data()}, {});
    }
    implementation<Add>("avx2").launch(dense, {g.data(), more.data(), g.data()}, {});
    r.g_z = bytes_of(g, RTFQ_F32);
    norm_gradients(x, main, g, sums.sum_g, sums.sum_gx, r.sum_g, r.sum_gx, r.dx);
    Floats same_sum;
    if (shape.residual == RTFQ_RESIDUAL_NORM)
      norm_gradients(other_x, other, g, sums.sum_g, sums.other_sum_gx, same_sum, r.other_sum_gx, r.other_dx);
    return r;
  }

 private:
  Floats normalized(const Bytes& from, const NormChannels& channels_of) const {
    BatchNormNormalizeArgs a{};
    Floats y(static_cast<std::size_t>(count()));
    a.x = from.data();
    a.mean = channels_of.mean.data(), a.variance = channels_of.variance.data();
    for (int i = 0; i < shape.norm.segments; ++i) {
      a.scale[i] = channels_of.scale.data() + i * shape.norm.c;
      a.shift[i] = channels_of.shift.data() + i * shape.norm.c;
    }
    a.y = y.data();
    implementation<BatchNormNormalize>("avx2").launch(shape.norm, a, {});
    return y;
  }

  void norm_gradients(const Bytes& from, const NormChannels& of, const Floats& g, const Floats& sum_g,
                      const Floats& sum_gx, Floats& to_sum_g, Floats& to_sum_gx, Bytes& dx) const {
    const auto& reduce_impl = implementation<BatchNormReduce>("avx2");
    catalog::Buffer workspace(reduce_impl.workspace(shape.norm));
    to_sum_g.resize(channels()), to_sum_gx.resize(channels());
    reduce_impl.launch(shape.norm,
                       {from.data(), g.data(), of.mean.data(), of.variance.data(), to_sum_g.data(),
                        to_sum_gx.data(), workspace.data()},
                       {});
    BatchNormApplyArgs a{};
    dx.resize(from.size());
    a.x = from.data(), a.g = g.data(), a.mean = of.mean.data(), a.variance = of.variance.data();
    a.sum_g = sum_g.data(), a.sum_gx = sum_gx.data();
    for (int i = 0; i < shape.norm.segments; ++i) {
      a.scale[i] = of.scale.data() + i * shape.norm.c;
      a.counts[i] = static_cast<float>(rtfq::kernels::count(shape.norm, i));
    }
    a.dx = dx.data();
    implementation<BatchNormApply>("avx2").launch(shape.norm, a, {});
  }
};

}  // namespace rtfq::test
