#pragma once
// Turns a subnet's walk into the operations of a Program. Every operation is planned before any is made,
// since an operation's buffers have their places only when the lives of all are known.

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/convquant.h"
#include "kernels/linear.h"
#include "models/deploy/arena.h"
#include "models/deploy/program.h"

namespace rtfq::deploy {

class Builder {
 public:
  using Buffer = Arena::Buffer;

  Builder(Program&, const packed::Model&, Weights&, int threads);
  void build();

 private:
  using Operation = Program::Operation;
  using Pass = Program::Pass;

  /// Codes of an activation, in the arena.
  struct Codes {
    Buffer buffer = 0;
    const float* step = nullptr;
    int64_t size = 0, c = 0;  ///< size x size pixels
    bool is_signed = false;
    int32_t qp = 255;  ///< the greatest there is, of unsigned ones
  };
  /// Weights in a kernel's form; `number`: in the order in which they are read.
  struct Laid {
    std::shared_ptr<const void> data;
    std::size_t bytes, number;
  };
  /// A convolution that is to be computed, with its norm.
  struct Conv {
    Codes x;
    std::size_t index;  ///< in the walk
    kernels::Conv2dShape shape;
    int64_t size, k;  ///< of its result
    const float *scale, *mean, *factor, *shift;
  };
  /// A block's projection, computed within the operation that adds it: its z, in f32, of the rows of one
  /// image from one on, or of the batch.
  struct Projection {
    Buffer z = 0;
    int64_t z_bytes = 0;  ///< of one thread's
    std::function<std::function<void(const Pass&, int64_t image, int64_t row, int64_t me)>()> make;
  };
  /// The forms of a block's result that are read later.
  struct Sum {
    Codes codes, identity;
    Buffer values = 0;
  };
  /// What a sum is stored as: at first the codes, or the identity's where nothing reads the others.
  struct Forms {
    std::string first_name, identity_name;
    rtfq_identity identity;
    bool has_step;  ///< else the first codes are made and never read
    const float *step, *identity_step;
    int32_t qp, identity_qp;
  };

  // builder.cpp
  const float* step(const std::string& activation) const;
  kernels::QuantBounds bounds(const std::string& activation) const;
  /// Floats that live as long as the program.
  const float* keep(const std::vector<float>& values);
  int64_t at(Buffer buffer) const { return arena_.offset(buffer); }
  /// Step of x times each row's of w, as evaluation rounds it.
  const float* scales(const Codes& x, const packed::LayerCodes& w, int64_t k);
  template <class F>
  void add(std::initializer_list<Buffer> reads, F make) {
    arena_.operation(reads);
    makers_.push_back(make);
  }
  /// So many blocks from the first on are computed image by image.
  std::size_t blocks_of_one_image() const;
  Codes quantized_image();
  /// `gather`: images of the batch that results of one image each are gathered in, or 0.
  Sum run(const packed::BlockWalk&, const Sum& x, int64_t gather);
  void classify(const Sum&);
  void linear(const Codes& features);

  // builder_sums.cpp
  Conv conv(const Codes& x, std::size_t index);
  /// The fastest kernel for a convolution with what follows it, or nullptr where two passes are faster.
  static const kernels::ConvQuantForward::Impl* fused(const kernels::ConvQuantShape&);
  static const kernels::Conv2dShape& products(const kernels::ConvQuantShape& s) { return s.conv; }
  template <class Shape>
  static const Shape& products(const Shape& s) {
    return s;
  }
  static const char* operation(const kernels::ConvQuantShape&) { return kernels::ConvQuantForward::name; }
  static const char* operation(const kernels::Conv2dShape&) { return kernels::Conv2dForward::name; }
  static const char* operation(const kernels::LinearShape&) { return kernels::LinearForward::name; }
  template <class Impl, class Shape>
  Laid lay_out(const std::string& layer, int64_t k, int64_t c, const Impl& impl, const Shape& shape) {
    const auto codes = model_.corner(model_.layer(layer), subnet_.bits, k, c);
    const std::size_t packed = impl.packed(shape), bytes = packed ? packed : codes.size();
    const auto data = weights_.keep(bytes, [&](void* to) {
      if (packed)
        impl.pack(shape, codes.data(), to, {});
      else
        std::copy(codes.begin(), codes.end(), static_cast<int8_t*>(to));
    });
    program_.kept_.push_back(data);
    laid_.push_back({data, bytes, laid_.size()});
    const auto& codes_of = products(shape);
    program_.layers_.push_back({layer, codes_of.x_type, codes_of.w_type, k, c, model_.layer(layer).filter,
                                operation(shape), impl.name});
    return laid_.back();
  }
  template <class Impl, class Shape>
  Laid lay_out(const Conv& conv, const Impl& impl, const Shape& shape) {
    const ConvPlan& plan = walk_.convs[conv.index];
    return lay_out(plan.name, plan.k, plan.c, impl, shape);
  }
  /// What does not change from pass to pass. Asked when operations are made, since it names the weights of
  /// the next one.
  kernels::ConvQuantArgs fixed_args(const Conv&, const Laid&) const;
  Forms forms_of(const std::string& name, packed::SumForms) const;
  /// The sum's buffers; the next operation writes them. `instead`: where what will be added to the next sum
  /// lies, if not in a buffer of its own.
  Sum place(const Forms&, const Conv& main, packed::SumForms, const Buffer* instead = nullptr);
  /// main + other, or + identity, quantized.
  Sum sum(const Conv& main, const Conv* other, const Sum* identity, const std::string& name,
          packed::SumForms);
  /// `beside`: parts computed at a time.
  Projection project(const Conv&, const kernels::Conv2dShape& part, int64_t beside);
  Sum fused_sum(const Conv& main, const kernels::ConvQuantForward::Impl&, const Conv* other,
                const Sum* identity, const Forms&, packed::SumForms);
  Sum sum_of_two_passes(const Conv& main, const Conv* other, const Sum* identity, const Forms&,
                        packed::SumForms);
  Buffer convolve(const Conv&);

  // builder_stem.cpp
  Sum pooled_stem(const Conv&);
  Codes pooled(const Codes&, const std::string& name);
  Sum pooled_values(const Conv&);

  Program& program_;
  const packed::Model& model_;
  Weights& weights_;
  packed::Walk walk_;
  Subnet subnet_;
  int64_t n_;
  int threads_;
  Arena arena_;
  std::vector<std::function<Operation()>> makers_;
  std::size_t of_one_image_ = 0;  ///< makers before the batch is gathered
  int64_t gather_ = 0;            ///< of the next sum, as of run()
  std::vector<Laid> laid_;
};

}  // namespace rtfq::deploy
