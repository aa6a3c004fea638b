#include "training/network.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "engine/reducer.h"
#include "engine/utf8.h"
#include "kernels/cpu/features.h"

namespace rtfq {
namespace {

/// Pixels lie in [0,1] before normalization.
float image_bound(const DataConfig& data) {
  float bound = 0;
  for (std::size_t c = 0; c < data.mean.size(); ++c)
    bound = std::max({bound, std::abs(data.mean[c] / data.deviation[c]),
                      std::abs((1 - data.mean[c]) / data.deviation[c])});
  return bound;
}

bool on_cpu(const Config& config) {
  return kernels::parse_device(config.device).backend == Backend::cpu;
}

/// Checkpoints and logs hold names as JSON: better to hear of it now than at the first checkpoint.
void require_text(const data::Dataset& dataset) {
  for (const std::string& name : dataset.classes)
    if (!is_utf8(name))
      throw std::invalid_argument("[data] a class of " + dataset.origin + " has a name that is not UTF-8 (" +
                                  name + "): rename it");
}

}  // namespace

SupernetOptions supernet_options(const Config& config, int64_t classes) {
  SupernetOptions options;
  options.arch = config.model.arch;
  options.classes = classes;
  options.image_channels = config.data.channels;
  options.image_bound = image_bound(config.data);
  options.bank = config.model.bank;
  options.residual = parse_residual(config.model.residual);
  options.first_last_bits = config.model.first_last_bits;
  options.symmetric_weights = config.model.symmetric_weights;
  options.per_channel_weights = config.model.per_channel_weights;
  options.step_init = parse_step_init(config.model.step_init);
  options.step_gradient = parse_step_gradient(config.model.step_gradient);
  for (const std::string& text : config.model.bits_exceptions)
    options.bits_exceptions.push_back(parse_bits_exception(text));
  options.norm_affine = parse_affine_owner(config.model.norm_affine);
  options.integer = config.precision == "int8";
  const bool fast_bf16 = !on_cpu(config) || kernels::cpu::fast_bf16();
  options.tf32 = config.precision == "tf32";
  options.storage = (config.precision == "bf16" || options.integer) && fast_bf16 ? DType::bf16 : DType::f32;
  options.domain_norms = config.model.domain_norms;
  options.norm_momentum = config.model.norm_momentum;
  return options;
}

std::string precision_in_use(const Config& config) {
  if (config.precision == "f32") return "f32";
  if (config.precision == "tf32")
    return on_cpu(config) ? "f32 instead of tf32, which processors do not have"
                          : "f32, rounded to tf32 on its way into convolutions";
  if (!on_cpu(config))
    return config.precision == "bf16"
               ? "bf16"
               : "int8: exact sums of codes in convolutions, bf16 between them and in gradients";
  const bool bf16 = kernels::cpu::fast_bf16(), int8 = kernels::cpu::fast_int8();
  const std::string between = bf16 ? "bf16" : "f32",
                    here = " (this processor: " + kernels::cpu::describe_features() + ")";
  if (config.precision == "bf16")
    return bf16 ? "bf16" : "f32 instead of bf16, which is no faster here" + here;
  return "int8: exact sums of codes in convolutions" + std::string(int8 ? "" : ", no faster than f32 here") +
         ", " + between + " between them and in gradients" +
         (bf16 ? "" : " instead of bf16, which is no faster here") + (bf16 && int8 ? "" : here);
}

Device device_of(const Config& config) {
  const Device device = kernels::parse_device(config.device);
  std::string why;
  if (!kernels::runtime::available(device, &why)) throw std::runtime_error(why);
  return device;
}

std::string device_in_use(const Config& config) {
  const Device device = device_of(config);
  std::string text = config.device;
  if (device.backend == Backend::cuda) {
    const auto is = kernels::runtime::properties(device);
    text += ": " + is.name + ", sm_" + std::to_string(is.capability) + ", " +
            std::to_string(is.memory >> 30) + " GiB";
  }
  if (device.backend == Backend::simt) text += ": the CUDA kernels on the CPU, slowly";
  return text + "; precision " + precision_in_use(config);
}

bool trains_single(const Config& config) {
  return config.train.method != "rtfq" || config.train.sampler == "fixed";
}

Subnet teaching_subnet(const Config& config) {
  if (!trains_single(config)) return config.model.bank.largest();
  Subnet subnet = parse_subnet(config.train.subnet, config.model.bank);
  if (config.train.method != "rtfq") subnet.bits = float_bits;
  return subnet;
}

Subnet float_subnet(const Config& config) {
  Subnet subnet = teaching_subnet(config);
  subnet.bits = float_bits;
  return subnet;
}

std::vector<Subnet> trained_subnets(const Config& config) {
  if (trains_single(config)) return {teaching_subnet(config)};
  return config.model.bank.subnets();
}

TrainingData open_training_data(const Config& config) {
  if (config.data.source.empty())
    throw std::invalid_argument(
        "[data] data.source is empty: name a folder with one subfolder a class, or a list file");
  TrainingData data;
  data.source = data::open_dataset(config.data.source, {}, {}, config.data.outside_paths);
  if (!data.source.labelled() || data.source.classes.size() < 2)
    throw std::invalid_argument(
        "[data] the source " + config.data.source +
        " must have labels of at least 2 classes: one subfolder a class, or a list of `path label`");
  require_text(data.source);
  data.source = data::hold_out(data.source, config.data.source_hold_out).first;
  if (config.train.method == "source_only") return data;
  if (config.data.target.empty())
    throw std::invalid_argument("[data] data.target is empty: name a folder of images or a list file");
  auto target = open_target(config.data, data.source.classes);
  if (config.data.hold_out) target = data::hold_out(target, config.data.hold_out).first;
  data.target = data::without_labels(std::move(target));
  return data;
}

data::Dataset open_source_validation(const DataConfig& config, const std::vector<std::string>& classes) {
  data::Dataset source = data::open_dataset(config.source, classes, {}, config.outside_paths);
  if (config.source_hold_out == 0) return source;
  data::Dataset held = data::hold_out(source, config.source_hold_out).second;
  if (held.samples.empty())
    throw std::invalid_argument("[data] data.source_hold_out " + std::to_string(config.source_hold_out) +
                                " keeps none of the " + std::to_string(source.samples.size()) +
                                " images of " + config.source + " out: lower it");
  return held;
}

data::Dataset open_target(const DataConfig& config, const std::vector<std::string>& classes) {
  return data::open_dataset(config.target, classes, {}, config.outside_paths);
}

data::Decoding decoding_of(const DataConfig& data) {
  using Jpeg = data::Decoding::Jpeg;
  return {data.jpeg == "stb" ? Jpeg::stb : data.jpeg == "turbo" ? Jpeg::turbo : Jpeg::best, data.exif};
}

data::LoaderOptions loader_options(const Config& config, Domain domain, bool training) {
  data::LoaderOptions options;
  options.batch = config.train.batch;
  if (training) {  // evaluation is one rank's work
    const int ranks = reducer().ranks();
    if (config.train.batch % ranks != 0)
      throw std::invalid_argument("[train] train.batch is " + std::to_string(config.train.batch) +
                                  ", which " + std::to_string(ranks) +
                                  " ranks cannot share evenly: choose a multiple, or other ranks");
    options.batch = config.train.batch / ranks;
    options.rank = reducer().rank();
    options.ranks = ranks;
  }
  options.resolution = config.model.bank.resolutions.front();
  options.channels = config.data.channels;
  options.augmentation = config.data.augmentation;
  options.augmentation.resize = config.data.resize;
  options.augmentation.squash = config.data.resize_mode == "squash";
  options.augmentation.bicubic = config.data.interpolation == "bicubic";
  options.training = training;
  options.seed = config.train.seed;
  options.stream = static_cast<uint32_t>(domain);
  options.threads = config.data.threads;
  options.decoding = decoding_of(config.data);
  options.cache_bytes = config.data.cache_mib << 20;
  options.cache_folder = config.data.cache_dir;
  options.say = [](const std::string& text) { std::fprintf(stderr, "rtfq: %s\n", text.c_str()); };
  options.bad_images = config.data.bad_images == "skip" ? data::BadImages::skip : data::BadImages::error;
  return options;
}

const Tensor& ImagePyramid::at(int64_t resolution) {
  for (const Tensor& level : levels_)
    if (level.dim(1) == resolution) return level;
  const memory::HeldBy by("images");
  levels_.push_back(ops::resize(stream_, levels_.front(), resolution, resolution));
  return levels_.back();
}

}  // namespace rtfq
