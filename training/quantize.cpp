#include "training/quantize.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <unordered_map>

#include "training/config_schema.h"

namespace rtfq {
namespace {

/// Images whose activations set the first step sizes.
constexpr int images_of_steps = 256;

/// Shuffled, not augmented.
data::Batch plain_batch(const Config& config, Domain domain, const data::Dataset& dataset) {
  data::LoaderOptions options = loader_options(config, domain, true);
  const int resize = options.augmentation.resize;
  options.augmentation = {};
  options.augmentation.resize = resize;
  options.batch = static_cast<int>(std::min<std::size_t>(images_of_steps, dataset.samples.size()));
  return data::Loader(dataset, options).next();
}

/// Weights, scales, shifts and biases; step sizes are new.
void copy_trained(const Supernet& from, Supernet& to) {
  std::unordered_map<std::string, const Parameter*> trained;
  for (const Parameter* p : from.parameters()) trained[p->name] = p;
  for (Parameter* p : to.parameters()) {
    if (p->kind == ParameterKind::step) continue;
    p->value.copy_from(trained.at(p->name)->value);
  }
  to.weights_changed();
}

}  // namespace

Config quantized_config(const Config& trained, const std::vector<std::string>& settings) {
  if (trains_single(trained) || trained.model.bank.bits != std::vector<int>{float_bits})
    throw std::invalid_argument(
        "[quantize] expected a bank that was trained at full precision (bank.bits=[32], method rtfq), got " +
        std::string(trains_single(trained) ? "a single network" : "a bank that is quantized already"));
  if (trained.model.norm_affine != "architecture")
    throw std::invalid_argument("[quantize] expected model.norm_affine=architecture, got " +
                                trained.model.norm_affine +
                                ": a scale and shift of each subnet has no counterpart at new bit-widths");
  std::vector<std::string> all{"bank.bits=[8,6,4]", "model.step_init=mse"};
  all.insert(all.end(), settings.begin(), settings.end());
  Config config = parse_config(to_json(trained), "the trained bank's configuration", all);
  static const std::array<std::string, 9> free{"bank",
                                               "threads",
                                               "train.calibration_images",
                                               "model.residual",
                                               "model.first_last_bits",
                                               "model.symmetric_weights",
                                               "model.per_channel_weights",
                                               "model.step_init",
                                               "model.bits_exceptions"};
  for (const std::string& key : schema::differing_keys(trained, config))
    if (!key.starts_with("data.") && std::find(free.begin(), free.end(), key) == free.end())
      throw std::invalid_argument("[quantize] " + key +
                                  " cannot be set: nothing is trained; keys are bank.bits, data.*, threads, "
                                  "train.calibration_images and the quantizers' of model.*");
  Bank same = config.model.bank;
  same.bits = trained.model.bank.bits;
  const auto& bits = config.model.bank.bits;
  if (same != trained.model.bank || std::find(bits.begin(), bits.end(), float_bits) != bits.end())
    throw std::invalid_argument("[quantize] of the bank only bits can be set, 2 to 8");
  return config;
}

TrainedBank quantize(const TrainedBank& trained, const Config& config, const Progress& progress) {
  TrainedBank bank{config, nullptr, trained.classes, trained.step, trained.finished, trained.pretrained};
  bank.network = std::make_unique<Supernet>(
      supernet_options(config, static_cast<int64_t>(trained.classes.size())), config.train.seed);
  copy_trained(*trained.network, *bank.network);
  const TrainingData data = open_training_data(config);
  const Domain domain = data.target.samples.empty() ? Domain::source : Domain::target;
  const data::Batch batch = plain_batch(config, domain, domain == Domain::target ? data.target : data.source);
  const Tensor images = ops::normalize({}, batch.pixels, {batch.n, batch.height, batch.width, batch.channels},
                                       config.data.mean, config.data.deviation);
  const BatchPart part{domain, batch.n};
  for (const int bits : config.model.bank.bits) {
    Subnet largest = config.model.bank.largest();
    largest.bits = bits;
    Tape tape(true);  // quantizers start only where a tape records
    bank.network->forward(tape, largest, images, std::span(&part, 1), NormMode::batch);
  }
  calibrate_bank(*bank.network, config, data, progress);
  return bank;
}

}  // namespace rtfq
