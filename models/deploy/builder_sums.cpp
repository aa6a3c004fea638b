// Convolutions with what follows them: in one pass where there is a kernel for it, else as evaluation does
// it, in two.
#include <omp.h>

#include <algorithm>
#include <string_view>

#include "kernels/normquant.h"
#include "models/deploy/builder.h"

namespace rtfq::deploy {

using namespace kernels;

Builder::Conv Builder::conv(const Codes& x, std::size_t index) {
  const ConvPlan& plan = walk_.convs[index];
  const packed::Layer& layer = model_.layer(plan.name);
  const auto shape = with_types(make_conv2d_shape(n_, x.size, x.size, plan.c, plan.k, plan.filter,
                                                  plan.stride, plan.filter / 2, plan.c),
                                x.is_signed ? RTFQ_S8 : RTFQ_U8, RTFQ_S8, RTFQ_F32);
  const packed::Norms norms = model_.norms_of(program_.subnet_);
  const int64_t first = walk_.norm_offsets[index];
  return {x,
          index,
          shape,
          output_height(shape),
          plan.k,
          scales(x, layer.codes.at(layer.used_bits(subnet_.bits)), plan.k),
          norms.mean + first,
          norms.factor + first,
          norms.shift + first};
}

const ConvQuantForward::Impl* Builder::fused(const ConvQuantShape& shape) {
  const auto& impl = choose<ConvQuantForward>(Backend::cpu, shape);
  return std::string_view(impl.name) == "naive" ? nullptr : &impl;
}

Builder::Forms Builder::forms_of(const std::string& name, packed::SumForms forms) const {
  const Residual residual = model_.residual();
  const bool eight = forms.identity && residual == Residual::eight_bits,
             values = forms.identity && residual == Residual::keep_float;
  Forms f;
  f.identity_name = name + ".identity";
  f.first_name = forms.codes || values ? name : f.identity_name;
  f.identity = values                 ? RTFQ_IDENTITY_VALUES
               : eight && forms.codes ? RTFQ_IDENTITY_CODES
                                      : RTFQ_IDENTITY_NONE;
  f.has_step = forms.codes || !values;
  static constexpr float unit = 1.0f;
  f.step = f.has_step ? step(f.first_name) : &unit;
  f.identity_step = f.identity == RTFQ_IDENTITY_CODES ? step(f.identity_name) : nullptr;
  f.qp = f.has_step ? bounds(f.first_name).qp : 255;
  f.identity_qp = f.identity == RTFQ_IDENTITY_CODES ? bounds(f.identity_name).qp : 255;
  return f;
}

Builder::Sum Builder::place(const Forms& f, const Conv& main, packed::SumForms forms, const Buffer* instead) {
  const int64_t count = n_ * main.size * main.size * main.k;
  // What the next block adds takes the place of what this one added, element by element.
  const auto buffer = [&](int64_t bytes, bool added) {
    if (gather_) return arena_.add_kept(gather_ * bytes);
    return added && instead ? *instead : arena_.add(bytes);
  };
  const Codes first{buffer(count, f.identity == RTFQ_IDENTITY_NONE), f.step, main.size, main.k, false, f.qp};
  Sum sum;
  if (forms.codes) sum.codes = first;
  sum.identity = first;
  if (f.identity == RTFQ_IDENTITY_CODES)
    sum.identity = {buffer(count, true), f.identity_step, main.size, main.k, false, f.identity_qp};
  if (f.identity == RTFQ_IDENTITY_VALUES) {
    sum.values = buffer(4 * count, true);
    sum.identity = {sum.values, nullptr, main.size, main.k, false};
  }
  if (!forms.codes) sum.codes = first;  // made, and read by nothing but the identity path
  return sum;
}

Builder::Sum Builder::sum(const Conv& main, const Conv* other, const Sum* identity, const std::string& name,
                          packed::SumForms forms) {
  const Forms f = forms_of(name, forms);
  const auto* of_main = fused(make_convquant_shape(main.shape));
  if (of_main && (!other || fused(make_convquant_shape(other->shape))))
    return fused_sum(main, *of_main, other, identity, f, forms);
  return sum_of_two_passes(main, other, identity, f, forms);
}

ConvQuantArgs Builder::fixed_args(const Conv& conv, const Laid& weights) const {
  ConvQuantArgs args{};
  args.packed = weights.data.get();
  args.scale = conv.scale, args.mean = conv.mean, args.factor = conv.factor, args.shift = conv.shift;
  if (weights.number + 1 < laid_.size()) {
    args.next_packed = laid_[weights.number + 1].data.get();
    args.next_bytes = laid_[weights.number + 1].bytes;
  }
  return args;
}

namespace {

/// So many rows of an image at a time keep a projection's z, in f32, in a second-level cache. 0: the batch is
/// computed at once, since a filter reaches beyond rows.
int64_t rows_of_band(const Conv2dShape& main, const Conv2dShape& projection) {
  if (main.r * main.s != 1 || projection.r * projection.s != 1) return 0;
  constexpr int64_t most_bytes = 448 << 10;
  const int64_t height = output_height(main);
  // Weights are read for each band: those, k * c, that are more than an image's z, 4 * h * w * k bytes
  // written and read, are rather read once.
  if (main.c + projection.c > 2 * 4 * height * output_width(main)) return 0;
  int64_t rows = std::clamp<int64_t>(most_bytes / (4 * output_width(main) * main.k), 1, height);
  while (height % rows) --rows;
  return rows;
}

/// Where the codes begin that a row of the output reads, without padding.
int64_t input_of(const Conv2dShape& s, int64_t image, int64_t row) {
  return (image * s.h + row * s.stride) * s.w * s.c;
}

/// A convolution of one pixel to so many rows of its output.
Conv2dShape band(Conv2dShape s, int64_t rows) {
  s.n = 1;
  s.h = (rows - 1) * s.stride + 1;
  return s;
}

}  // namespace

// A residual that has a norm of its own is computed first, as far as its own z, band by band.
Builder::Sum Builder::fused_sum(const Conv& main, const ConvQuantForward::Impl& impl, const Conv* other,
                                const Sum* identity, const Forms& f, packed::SumForms forms) {
  const bool floats = model_.residual() == Residual::keep_float;
  const rtfq_residual kind = other       ? RTFQ_RESIDUAL_VALUES
                             : !identity ? RTFQ_RESIDUAL_NONE
                             : floats    ? RTFQ_RESIDUAL_VALUES
                                         : RTFQ_RESIDUAL_CODES;
  const int64_t rows = other ? rows_of_band(main.shape, other->shape) : 0;
  const auto part = [rows](const Conv2dShape& s) { return rows ? band(s, rows) : s; };
  const auto shape = with_input_bound(
      make_convquant_shape(part(main.shape), kind, f.identity, f.qp, f.identity_qp), main.x.qp);
  const int64_t bands = rows ? main.size / rows : 1, launches = rows ? n_ * bands : 1;
  // Side by side where every thread gets as many.
  const int beside = launches % threads_ == 0 ? threads_ : 1;
  const Projection projection = other ? project(*other, part(other->shape), beside) : Projection{};
  const Buffer residual = other      ? projection.z
                          : identity ? (floats ? identity->values : identity->identity.buffer)
                                     : main.x.buffer;
  const Laid weights = lay_out(main, impl, shape);
  // Nothing reads the residual after this, and each of its elements is read before its place is written:
  // codes make room for codes, f32 values for f32 values.
  const bool in_place = identity && floats == (f.identity == RTFQ_IDENTITY_VALUES);
  const Sum result = place(f, main, forms, in_place ? &residual : nullptr);
  const auto workspace_bytes = static_cast<int64_t>(impl.workspace(shape));
  const Buffer workspace = arena_.add(beside * workspace_bytes);
  const float* residual_step = kind == RTFQ_RESIDUAL_CODES ? identity->identity.step : nullptr;
  const int64_t count = n_ * main.size * main.size * main.k, of_image = gather_ ? count : 0;
  add({main.x.buffer, other ? other->x.buffer : residual, residual}, [=, this, &impl] {
    return [=, &impl, fixed = fixed_args(main, weights), add_projection = other ? projection.make() : nullptr,
            from = at(main.x.buffer), r = at(residual), to = at(result.codes.buffer),
            also = at(result.identity.buffer), scratch = at(workspace)](const Pass& p) {
      const auto launch = [&](int64_t i, int64_t me) {
        const int64_t image = i / bands, row = i % bands * rows,
                      output = p.image * of_image + (image * main.size + row) * main.size * main.k;
        if (add_projection) add_projection(p, image, row, me);
        ConvQuantArgs args = fixed;
        args.x = p.at<std::byte>(from) + input_of(main.shape, image, row);
        args.workspace = p.at<std::byte>(scratch) + me * workspace_bytes;
        args.residual = kind == RTFQ_RESIDUAL_NONE ? nullptr : p.at<std::byte>(r) + me * projection.z_bytes;
        args.residual_step = residual_step;
        args.step = f.step, args.identity_step = f.identity_step;
        args.y = p.at<uint8_t>(to) + output;
        if (f.identity == RTFQ_IDENTITY_CODES) args.identity = p.at<uint8_t>(also) + output;
        if (f.identity == RTFQ_IDENTITY_VALUES) args.identity = p.at<float>(also) + output;
        impl.launch(shape, args, {});
      };
      if (beside > 1 && !omp_in_parallel()) {
        // A thread's bands lie together, and it alone reads and writes them, from layer to layer.
#pragma omp parallel for schedule(static) num_threads(beside)
        for (int64_t i = 0; i < launches; ++i) launch(i, omp_get_thread_num());
      } else {
        for (int64_t i = 0; i < launches; ++i) launch(i, 0);
      }
      const int64_t first = p.image * of_image;
      if (f.has_step) p.observe(f.first_name, p.at<uint8_t>(to) + first, count);
      if (f.identity == RTFQ_IDENTITY_CODES) p.observe(f.identity_name, p.at<uint8_t>(also) + first, count);
    };
  });
  return result;
}

Builder::Projection Builder::project(const Conv& conv, const Conv2dShape& part, int64_t beside) {
  const auto shape = with_input_bound(make_convquant_shape(part), conv.x.qp);
  const auto* impl = fused(shape);
  const Laid weights = lay_out(conv, *impl, shape);
  const int64_t z_bytes = 4 * part.n * output_height(part) * output_width(part) * part.k;
  const auto workspace_bytes = static_cast<int64_t>(impl->workspace(shape));
  const Buffer z = arena_.add(beside * z_bytes), workspace = arena_.add(beside * workspace_bytes);
  return {z, z_bytes, [=, this] {
            return [=, fixed = fixed_args(conv, weights), from = at(conv.x.buffer), to = at(z),
                    scratch = at(workspace)](const Pass& p, int64_t image, int64_t row, int64_t me) {
              ConvQuantArgs args = fixed;
              args.x = p.at<std::byte>(from) + input_of(conv.shape, image, row);
              args.workspace = p.at<std::byte>(scratch) + me * workspace_bytes;
              args.y = p.at<std::byte>(to) + me * z_bytes;
              impl->launch(shape, args, {});
            };
          }};
}

Builder::Buffer Builder::convolve(const Conv& conv) {
  const auto* impl = &choose<Conv2dForward>(Backend::cpu, conv.shape);
  const Laid weights = lay_out(conv, *impl, conv.shape);
  const Buffer y = arena_.add(4 * n_ * conv.size * conv.size * conv.k),
               workspace = arena_.add(static_cast<int64_t>(impl->workspace(conv.shape)));
  add({conv.x.buffer}, [=, this] {
    return [=, from = at(conv.x.buffer), to = at(y), scratch = at(workspace)](const Pass& p) {
      impl->launch(conv.shape,
                   {p.at<void>(from), weights.data.get(), p.at<void>(to), p.at<void>(scratch), conv.scale},
                   {});
    };
  });
  return y;
}

Builder::Sum Builder::sum_of_two_passes(const Conv& main, const Conv* other, const Sum* identity,
                                        const Forms& f, packed::SumForms forms) {
  const bool floats = model_.residual() == Residual::keep_float;
  const rtfq_residual kind = other       ? RTFQ_RESIDUAL_NORM
                             : !identity ? RTFQ_RESIDUAL_NONE
                             : floats    ? RTFQ_RESIDUAL_VALUES
                                         : RTFQ_RESIDUAL_CODES;
  auto norm = make_batchnorm_shape(n_, main.size * main.size, main.k);
  // The factor is scale / sqrt(variance + epsilon) with these chosen so that it is `factor` exactly.
  norm.epsilon = 0;
  const auto shape = make_normquant_shape(norm, kind, f.identity, f.qp, f.identity_qp);
  const float* variance = keep(std::vector<float>(static_cast<std::size_t>(main.k), 1.0f));
  const Conv other_conv = other ? *other : main;
  const Buffer y = convolve(main);
  const Buffer read = other      ? convolve(*other)
                      : identity ? (floats ? identity->values : identity->identity.buffer)
                                 : y;
  const Sum result = place(f, main, forms);
  const float* residual_step = kind == RTFQ_RESIDUAL_CODES ? identity->identity.step : nullptr;
  const int64_t count = n_ * main.size * main.size * main.k, of_image = gather_ ? count : 0;
  add({y, read}, [=, this] {
    const auto* impl = &choose<NormQuantForward>(Backend::cpu, shape);
    return [=, x = at(y), r = at(read), to = at(result.codes.buffer),
            also = at(result.identity.buffer)](const Pass& p) {
      NormQuantForwardArgs args{};
      const auto input = [&](const Conv& conv, const void* values) {
        NormQuantInput in{};
        in.x = values;
        in.mean = conv.mean;
        in.variance = variance;
        in.scale[0] = conv.factor;
        in.shift[0] = conv.shift;
        return in;
      };
      args.in.main = input(main, p.at<void>(x));
      if (kind == RTFQ_RESIDUAL_NORM)
        args.in.other = input(other_conv, p.at<void>(r));
      else if (kind != RTFQ_RESIDUAL_NONE)
        args.in.residual = p.at<void>(r);
      args.in.residual_step = residual_step;
      args.in.step = f.step;
      args.in.identity_step = f.identity_step;
      const int64_t first = p.image * of_image;
      args.codes = p.at<uint8_t>(to) + first;
      if (f.identity != RTFQ_IDENTITY_NONE)
        args.identity = p.at<std::byte>(also) + (f.identity == RTFQ_IDENTITY_VALUES ? 4 : 1) * first;
      impl->launch(shape, args, {});
      if (f.has_step) p.observe(f.first_name, args.codes, count);
      if (f.identity == RTFQ_IDENTITY_CODES) p.observe(f.identity_name, args.identity, count);
    };
  });
  return result;
}

}  // namespace rtfq::deploy
