#pragma once
// The ResNet supernet: one set of weights, elastic in width and depth, quantized at any bit-width of its
// bank, with switchable norms (docs/method.md).

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/norm.h"
#include "models/quantizer.h"
#include "models/resnet.h"

namespace rtfq {

enum class Residual {
  keep_float,  ///< the identity path is not quantized
  eight_bits,  ///< a quantizer of its own at 8 bits
  codes        ///< the codes that the convolutions read
};
/// "float", "8bit" or "codes"; throws std::invalid_argument naming them.
Residual parse_residual(const std::string&);

/// Quantizers whose names fit a pattern keep bits of their own in every quantized subnet.
struct BitsException {
  std::string pattern;  ///< "stage1.*", "stem", "stage2.block0.output": a shell pattern
  int bits = 8;
};
/// "stage1.*=8"; throws std::invalid_argument saying what is expected.
BitsException parse_bits_exception(const std::string&);
/// The bits that the last fitting exception gives a quantizer, or 0.
int own_bits(std::span<const BitsException>, const std::string& quantizer);

struct SupernetOptions {
  std::string arch = "resnet50";
  int64_t classes = 10;
  int64_t image_channels = 3;
  float image_bound =
      3.0f;  ///< greatest absolute value of a normalized pixel: the image's quantizer covers it
  Bank bank;
  Residual residual = Residual::eight_bits;
  int first_last_bits =
      8;  ///< input image, first convolution, pooled features, classifier; 0: the subnet's own
  bool symmetric_weights = false;
  bool per_channel_weights = false;
  StepInit step_init = StepInit::lsq;
  StepGradient step_gradient = StepGradient::lsq;
  std::vector<BitsException> bits_exceptions;  ///< the last that fits a name holds
  /// Quantized subnets compute on integer codes (exact sums, ops/quantized.h), not on fake-quantized values.
  bool integer = false;
  /// On a GPU its convolutions of f32 round their operands to TF32 (kernels/tf32.h).
  bool tf32 = false;
  DType storage = DType::f32;  ///< of activations between operations and of their gradients: f32 or bf16
  bool domain_norms = true;
  AffineOwner norm_affine = AffineOwner::architecture;
  double norm_momentum = 0.1;
};

/// What a subnet costs for one image. BitOPs are MACs x bits of weights x bits of activations; bytes are
/// packed weight codes, step sizes, norms folded to a factor and an offset, and the classifier's bias.
struct SubnetCost {
  int64_t params = 0, bytes = 0, macs = 0, bitops = 0;
  int64_t memory = 0;  ///< bytes that inference of one image needs: packed weights and activation_peak
};

/// Without making the network; any subnet, also one at float_bits that the bank does not have.
SubnetCost subnet_cost(const SupernetOptions&, const Subnet&);

/// Bytes of the largest set of activations that are alive together while one image goes through a subnet, as
/// a deployed network holds them; SubnetCost::memory is this and the packed weights. The model: a tensor
/// takes the bits that it is quantized to (the image and the pooled features first_last_bits, codes the
/// subnet's, the identity path its own), f32 where it is not (a projection's result, the stem's before its
/// max pooling, logits, everything at full precision). Norm, ReLU and quantizers are part of the convolution
/// before them, a block's sum part of its last convolution, which writes every form of it that is read later.
/// A projection runs right before that convolution. A tensor is dropped after the operation that reads it
/// last, nothing is computed in place, and kernels need no scratch memory.
int64_t activation_peak(const SupernetOptions&, const Subnet&);

/// A convolution with its weight quantizer and norm.
struct ElasticConv {
  std::unique_ptr<Parameter> weight;  ///< KRSC, of the full network
  std::unique_ptr<Quantizer> quantizer;
  std::unique_ptr<SwitchableNorm> norm;
  int64_t stride = 1;

  /// The fake-quantized slice used last in evaluation, with its packed forms.
  struct Kept {
    int64_t version = -1, k = 0, c = 0;
    int bits = 0;
    Variable values;  ///< where the convolution computes on them, else `codes`
    ops::QuantizedWeight codes;
    ops::PackedWeights packed;
  } kept;
};

/// The two quantizers of a produced tensor: codes for the convolutions that read it, and the identity path's
/// own.
struct OutputQuantizers {
  std::unique_ptr<Quantizer> codes, identity;  ///< identity only with Residual::eight_bits
};

struct ResidualBlock {
  std::vector<ElasticConv> convs;
  std::vector<std::unique_ptr<Quantizer>> inner;  ///< between the convolutions
  std::unique_ptr<ElasticConv> projection;
  OutputQuantizers output;
};

class Supernet {
 public:
  /// Random weights (He et al. 2015, fan out) from `seed`. Throws std::invalid_argument for a bank with two
  /// equal subnets.
  Supernet(const SupernetOptions&, uint64_t seed);

  /// Logits [n, classes] of images [n,h,w,c] (f32, normalized, at the subnet's resolution). The batch is
  /// split in `parts` by domain.
  Variable forward(Tape&, const Subnet&, const Tensor& images, std::span<const BatchPart> parts, NormMode);

  /// Parameters, their gradients and momenta, and running statistics are on `device` from now on.
  /// A network starts on the CPU.
  void move_to(Device device);
  Device device() const { return device_; }
  /// What its tapes run in.
  Stream stream() const { return compute_stream(device_); }

  const SupernetOptions& options() const { return options_; }
  const ResNetSpec& spec() const { return spec_; }
  SubnetCost cost(const Subnet&) const;

  /// All parameters, in a fixed order with unique names.
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  /// All norms' running statistics, named.
  std::vector<std::pair<std::string, Tensor>> buffers() const;
  const std::vector<SwitchableNorm*>& norms() const { return norms_; }
  const std::vector<Quantizer*>& quantizers() const { return quantizers_; }
  /// Hears the name and the result of each convolution and of the classifier in every forward pass; {}:
  /// nobody does. For looking into a network, it costs a call each.
  using Watch = std::function<void(const std::string& layer, const Tensor& result)>;
  void watch(Watch watch) { watch_ = std::move(watch); }
  /// Values of every parameter become another supernet's of the same options.
  void copy_parameters(const Supernet&);
  /// To be called after parameters changed outside a tape: prepared weights are made anew.
  void weights_changed() { ++version_; }
  /// Gives back what forward passes without a tape keep for the next one: each convolution's weights as they
  /// were used last.
  void drop_prepared_weights();
  /// Gives back the parameters' gradients, in a network that no tape will record: as much as its values.
  void drop_gradients();
  /// To be called after parameters were loaded: also which step sizes have values is looked up anew.
  void values_loaded();

 private:
  /// `weight`: the layer's, "stage1.0.conv1.weight".
  void heard(const Parameter& weight, const Tensor& result) const {
    if (watch_) watch_(weight.name.substr(0, weight.name.rfind('.')), result);
  }
  struct Pass;  ///< one forward pass (models/supernet_pass.h)
  ElasticConv make_conv(const std::string& name, int64_t c, int64_t k, int64_t filter, int64_t stride,
                        std::span<const int> bits);
  OutputQuantizers make_output(const std::string& name);
  std::unique_ptr<Quantizer> make_quantizer(const std::string& name, std::span<const int> bits,
                                            QuantizerOptions);
  Parameter* adopt(Parameter*);

  // On values, full precision or fake-quantized (supernet_forward.cpp).
  Variable forward_values(Pass&, const Tensor& images);
  Variable convolve(Pass&, ElasticConv&, const Variable& x, int64_t k, int bits);
  Variable run_block(Pass&, ResidualBlock&, const Variable& codes, const Variable& identity, int64_t mid,
                     int64_t out);
  /// Codes for the next convolutions, or the ReLU at full precision.
  Variable codes_of(Pass&, OutputQuantizers&, const Variable& sum);
  Variable identity_of(Pass&, OutputQuantizers&, const Variable& sum, const Variable& codes);

  // On integer codes (supernet_codes.cpp).
  struct Output;
  struct Wanted;
  Variable forward_codes(Pass&, const Tensor& images);
  ops::NormInput convolve(Pass&, ElasticConv&, const ops::Quantized& x, int64_t k, int bits);
  Output quantize_sum(Pass&, OutputQuantizers&, const ops::NormInput&, const ops::ResidualTerm&, Wanted);
  Output quantize_pooled(Pass&, OutputQuantizers&, const Variable& sum, Wanted);
  Output run_block(Pass&, ResidualBlock&, const Output& x, int64_t mid, int64_t out, Wanted);
  Variable pooled_features(Pass&, const Output&);
  Variable classify(Pass&, const Variable& pooled);

  SupernetOptions options_;
  ResNetSpec spec_;
  uint64_t seed_;
  Device device_;
  int64_t version_ = 0;
  Watch watch_;
  std::unique_ptr<Quantizer> input_, features_, classifier_quantizer_;
  ElasticConv stem_;
  OutputQuantizers stem_output_;
  std::vector<std::deque<ResidualBlock>> stages_;
  std::unique_ptr<Parameter> classifier_, bias_;
  std::vector<Parameter*> parameters_;
  std::vector<SwitchableNorm*> norms_;
  std::vector<Quantizer*> quantizers_;
};

}  // namespace rtfq
