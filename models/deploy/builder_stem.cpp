// The stem of networks that pool it. A quantizer never falls while its input rises, so that the codes of a
// maximum are the maximum of the codes: with a fused kernel the stem is quantized first and bytes are pooled.
#include <utility>

#include "kernels/batchnorm.h"
#include "kernels/fakequant.h"
#include "kernels/pool.h"
#include "models/deploy/builder.h"

namespace rtfq::deploy {

using namespace kernels;

Builder::Sum Builder::pooled_stem(const Conv& stem) {
  const bool values = model_.residual() == Residual::keep_float && walk_.stem.identity;
  const auto* impl = fused(make_convquant_shape(stem.shape));
  if (!impl || values) return pooled_values(stem);
  Forms f = forms_of("stem.output", walk_.stem);
  // What is observed is pooled: codes without a name are not.
  const std::string first = std::exchange(f.first_name, ""), identity = std::exchange(f.identity_name, "");
  const Sum whole = fused_sum(stem, *impl, nullptr, nullptr, f, walk_.stem);
  Sum result;
  result.codes = pooled(whole.codes, first);
  result.identity = result.codes;
  if (f.identity == RTFQ_IDENTITY_CODES) result.identity = pooled(whole.identity, identity);
  return result;
}

Builder::Codes Builder::pooled(const Codes& x, const std::string& name) {
  const auto shape = make_pool_shape(n_, x.size, x.size, x.c, 3, 2, 1, RTFQ_U8);
  Codes y = x;
  y.size = output_height(shape);
  const int64_t count = n_ * y.size * y.size * y.c;
  y.buffer = arena_.add(count);
  add({x.buffer}, [=, this] {
    const auto* impl = &choose<MaxPoolForward>(Backend::cpu, shape);
    return [=, from = at(x.buffer), to = at(y.buffer)](const Pass& p) {
      impl->launch(shape, {p.at<void>(from), p.at<void>(to), nullptr}, {});
      p.observe(name, p.at<void>(to), count);
    };
  });
  return y;
}

/// The stem's sum stays f32 until it is pooled; the ReLU and the maximum may change places.
Builder::Sum Builder::pooled_values(const Conv& stem) {
  const bool values = model_.residual() == Residual::keep_float && walk_.stem.identity;
  auto norm = make_batchnorm_shape(n_, stem.size * stem.size, stem.k);
  norm.epsilon = 0;
  const auto pool = make_pool_shape(n_, stem.size, stem.size, stem.k, 3, 2, 1);
  const int64_t size = output_height(pool), count = n_ * size * size * stem.k;
  const float* variance = keep(std::vector<float>(static_cast<std::size_t>(stem.k), 1.0f));
  const Buffer stem_y = convolve(stem);
  const Buffer z = arena_.add(count * 4);
  add({stem_y}, [=, this] {
    const auto* normalize = &choose<BatchNormNormalize>(Backend::cpu, norm);
    const auto* maximum = &choose<MaxPoolForward>(Backend::cpu, pool);
    return [=, y = at(stem_y), to = at(z)](const Pass& p) {
      BatchNormNormalizeArgs args{};
      args.x = args.y = p.at<void>(y);
      args.mean = stem.mean;
      args.variance = variance;
      args.scale[0] = stem.factor;
      args.shift[0] = stem.shift;
      args.relu = values;
      normalize->launch(norm, args, {});
      maximum->launch(pool, {p.at<void>(y), p.at<void>(to), nullptr}, {});
    };
  });
  Sum result;
  const auto quantize = [&](const std::string& name) {
    const Codes codes{arena_.add(count), step(name), size, stem.k, false, bounds(name).qp};
    const auto shape = make_fakequant_shape(count, bounds(name));
    add({z}, [=, this] {
      const auto* impl = &choose<FakeQuantForward>(Backend::cpu, shape);
      return [=, from = at(z), to = at(codes.buffer)](const Pass& p) {
        impl->launch(shape, {p.at<void>(from), codes.step, nullptr, p.at<void>(to)}, {});
        p.observe(name, p.at<void>(to), count);
      };
    });
    return codes;
  };
  result.codes = quantize("stem.output");
  result.identity = result.codes;
  if (walk_.stem.identity && model_.residual() == Residual::eight_bits)
    result.identity = quantize("stem.output.identity");
  if (values) result.values = z;
  return result;
}

}  // namespace rtfq::deploy
