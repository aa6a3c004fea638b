#pragma once
// Everything a training run depends on, as one value. The same description of keys reads configuration files
// and
// --set, prints a commented configuration, and stores a run's configuration in its checkpoint.

#include <cstdint>
#include <string>
#include <vector>

#include "data/transform.h"
#include "models/bank.h"

namespace rtfq {

struct DataConfig {
  std::string source;  ///< labelled: folder with one subfolder a class, or list file
  std::string target;  ///< unlabelled for training; labels, where there are any, are read by evaluation only
  std::string evaluation;                  ///< target images that accuracy is measured on; empty: `target`
  int channels = 3;                        ///< 1 (grey) or 3 (RGB)
  int resize = 0;                          ///< pixels before cropping; 0: whole image to the resolution
  std::string resize_mode = "shorter";     ///< shorter, squash: what `resize` sets
  std::string interpolation = "bilinear";  ///< bilinear, bicubic
  std::string jpeg = "auto";               ///< auto, stb, turbo: the decoder
  bool exif = false;                       ///< turn images upright as their EXIF orientation says
  std::vector<float> mean{0.485f, 0.456f, 0.406f};
  std::vector<float> deviation{0.229f, 0.224f, 0.225f};
  data::Augmentation augmentation;  ///< its `resize`, `squash` and `bicubic` are those above
  int hold_out = 0;                 ///< every k-th target file is kept out of training; 0: none
  int source_hold_out = 0;          ///< the same for source files, to validate on
  int threads = 2;
  int64_t cache_mib = 1024;          ///< decoded images kept in memory
  std::string cache_dir;             ///< folder of prepared images on disk; empty: none
  std::string bad_images = "error";  ///< error, skip
  bool outside_paths = false;        ///< list files may name images outside of the folder they start at
};

struct ModelConfig {
  std::string arch = "resnet50";  ///< resnet18, 34, 50, 101, 152, resnet14_small
  Bank bank;
  std::string residual = "8bit";      ///< float, 8bit, codes: the identity path's quantizer
  int first_last_bits = 8;            ///< first convolution, classifier and input image; 0: the subnet's own
  bool symmetric_weights = false;     ///< [-qp, qp] instead of [-qp-1, qp]
  bool per_channel_weights = false;   ///< one step size an output channel
  std::string step_init = "lsq";      ///< lsq, max, mse: initial step sizes
  std::string step_gradient = "lsq";  ///< lsq, count, none: factor on the gradient of a step size
  std::vector<std::string> bits_exceptions;  ///< "stage1.*=8": layers with bits of their own
  bool domain_norms = true;                  ///< source and target have norms of their own
  std::string norm_affine = "architecture";  ///< architecture, subnet: who owns a scale and shift
  double norm_momentum = 0.1;                ///< of the running statistics
};

struct LossConfig {
  double source = 1.0;  ///< cross entropy on the source
  double smoothing = 0.1;
  double pseudo_label = 0.1;  ///< of the largest subnet
  double pseudo_threshold = 0.9;
  std::string pseudo_source = "own";  ///< own: the largest subnet's predictions; teacher: the teacher's
  double information = 1.0;           ///< information maximization, every subnet
  std::string information_prior =
      "uniform";  ///< shares of the classes that the mean prediction is drawn to: uniform, teacher
  double information_average = 0.0;  ///< decay of the mean prediction over steps; 0: the batch's own
  double confusion = 0.0;            ///< minimum class confusion, every subnet
  double confusion_temperature = 2.5;
  double distillation = 1.0;  ///< from the teacher, all but the largest
  double teacher_temperature = 0.04;
  double student_temperature = 0.1;
  double joint = 1.0;  ///< lower bit-width from the higher one of a pair
  double joint_temperature = 1.0;
  std::string ensemble =
      "sampled";       ///< the smallest learns from the mean of: sampled (this step's), all, largest
  int ramp_steps = 0;  ///< target losses grow from 0 over so many steps
};

struct OptimizerConfig {
  double learning_rate = 2e-4;
  double classifier_rate = 10.0;  ///< factor on learning_rate
  double step_rate = 1.0;         ///< factor for the quantizers' step sizes
  double momentum = 0.9;
  bool nesterov = true;
  double weight_decay = 1e-3;
  bool decay_norms = true;          ///< weight decay also on norms and biases (never on step sizes)
  double clip_norm = 0.0;           ///< gradients are scaled down to this norm; 0: off
  bool average_passes = false;      ///< divide the summed gradient by the number of passes
  std::string schedule = "cosine";  ///< cosine, one_cycle, constant
  double one_cycle_warmup = 0.25;   ///< fraction of the steps that the rate rises
};

struct TrainConfig {
  std::string method = "rtfq";  ///< rtfq, source_only, mcc
  int64_t steps = 1000;         ///< all phases together
  int64_t float_steps = 0;      ///< of these, first: largest network, full precision, source only
  int64_t source_steps = 0;     ///< then: quantized sandwich, source only
  int batch = 32;               ///< images of each domain
  int passes = 4;
  std::string sampler = "sandwichq";  ///< sandwichq, sandwich, uniform, fixed
  std::string subnet;                 ///< the one that `fixed`, source_only and mcc train; empty: the largest
  double teacher_decay = 0.0;         ///< 0: 0.9^passes
  std::string teacher_update = "after";  ///< after, before: towards which weights of the step
  std::string teacher_view = "same";     ///< same, plain: which image the teacher sees
  uint64_t seed = 1;
  int64_t checkpoint_every = 200;      ///< steps
  int64_t calibration_images = 2048;   ///< per subnet and domain when training ends; 0: none
  int64_t log_steps_every = 50;        ///< steps between entries of quantizers.jsonl; 0: none
  double report_every = 60;            ///< seconds between reports during training; 0: none at all
  double max_loss = 1e4;               ///< a loss above it is as bad as one that is not finite; 0: no limit
  std::string on_divergence = "stop";  ///< stop, retreat: to the last checkpoint with half the rate
  bool sync_norms = true;              ///< norm statistics over the images of all ranks, or of each
  bool overlap = true;                 ///< several ranks sum gradients while passes compute others
  bool tensorboard = false;            ///< the log also as TensorBoard event files
};

struct Config {
  DataConfig data;
  ModelConfig model;
  LossConfig loss;
  OptimizerConfig optimizer;
  TrainConfig train;
  std::string checkpoint;  ///< pretrained ResNet to start from: .pth, .safetensors; empty: random weights
  /// "f32"; "tf32": as f32, but a GPU's convolutions round their operands to TF32; "bf16": convolutions and what stands between operations; "int8": as bf16, but quantized subnets
  /// compute on integer codes.
  std::string precision = "f32";
  std::string device = "cpu";
  bool graphs = false;  ///< passes that come again are launched as one (training/pass_graphs.h)
  int threads = 0;      ///< 0: all processors
};

/// Reads a .jsonc file (comments and trailing commas allowed), applies `overrides` ("train.steps=100"),
/// checks. Throws std::invalid_argument naming the file, the key and the nearest known key, or the expected
/// type or range.
Config read_config(const std::string& path, const std::vector<std::string>& overrides = {});
/// The same for text that is already in memory; `origin` names it in errors.
Config parse_config(const std::string& text, const std::string& origin,
                    const std::vector<std::string>& overrides = {});
/// Compact JSON that parse_config reads back to the same value.
std::string to_json(const Config&);
/// A complete commented configuration.
std::string commented(const Config&);
/// The text of a preset that ships (training/configs/NAME.jsonc, built into the binary); throws naming the
/// presets.
std::string preset_text(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace rtfq
