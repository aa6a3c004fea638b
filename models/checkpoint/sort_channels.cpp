#include "models/checkpoint/sort_channels.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <unordered_map>

namespace rtfq::checkpoint {
namespace {

constexpr double epsilon = 1e-5;  // of the norms

/// First and second moment of each channel's activation.
struct Moments {
  std::vector<double> mean, second;
};

/// A normal variable behind a ReLU.
void rectify(double mean, double variance, double& first, double& second) {
  const double deviation = std::sqrt(std::max(variance, 1e-30)), z = mean / deviation;
  const double below = 0.5 * std::erfc(-z * std::numbers::sqrt2 / 2);
  const double density = std::exp(-0.5 * z * z) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  first = mean * below + deviation * density;
  second = (mean * mean + variance) * below + mean * deviation * density;
}

/// The activation of `before` (none: nothing) plus the outputs of `norms`, rectified.
Moments rectified_sum(const Moments& before, const std::vector<const PretrainedLayer*>& norms) {
  const std::size_t channels = static_cast<std::size_t>(norms.front()->k);
  Moments after{std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = before.mean.empty() ? 0 : before.mean[c];
    double variance = before.mean.empty() ? 0 : before.second[c] - before.mean[c] * before.mean[c];
    for (const PretrainedLayer* norm : norms) {
      mean += static_cast<double>(norm->shift[c]);
      variance += static_cast<double>(norm->scale[c]) * static_cast<double>(norm->scale[c]);
    }
    rectify(mean, variance, after.mean[c], after.second[c]);
  }
  return after;
}

class Sorter {
 public:
  explicit Sorter(Pretrained& network) : network_(network) {
    for (PretrainedLayer& layer : network.layers) by_name_[layer.name] = &layer;
  }

  void run() {
    const ResNetSpec& spec = network_.spec;
    for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage)
      for (int64_t block = 0; block < spec.blocks[stage]; ++block) sort_inner(stage, block);
    if (spec.projects(0, 0)) sort_stem();
    for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage) sort_stream(stage);
    network_.sorted = true;
    network_.notes.push_back("hidden channels were sorted by importance");
  }

 private:
  PretrainedLayer* at(std::size_t stage, int64_t block, const std::string& part) const {
    return by_name_.at("stage" + std::to_string(stage + 1) + ".block" + std::to_string(block) + "." + part);
  }
  PretrainedLayer* last_conv(std::size_t stage, int64_t block) const {
    return at(stage, block, network_.spec.bottleneck ? "conv3" : "conv2");
  }

  /// Adds what a channel's activation does to the pre-activations of a convolution that reads it.
  static void add_reader(std::vector<double>& importance, const Moments& activation,
                         const PretrainedLayer& reader) {
    const std::size_t area = static_cast<std::size_t>(reader.filter * reader.filter);
    const float* w = reader.weight.data();
    for (std::size_t k = 0; k < static_cast<std::size_t>(reader.k); ++k) {
      const double scale = static_cast<double>(reader.scale[k]);
      const double gain = scale * scale / (static_cast<double>(reader.variance[k]) + epsilon);
      for (std::size_t c = 0; c < importance.size(); ++c, w += area) {
        double square = 0;
        for (std::size_t i = 0; i < area; ++i)
          square += static_cast<double>(w[i]) * static_cast<double>(w[i]);
        importance[c] += activation.second[c] * gain * square;
      }
    }
  }

  static std::vector<std::size_t> descending(const std::vector<double>& importance) {
    std::vector<std::size_t> order(importance.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return importance[a] > importance[b]; });
    return order;
  }

  /// Of rows of `inner` values each.
  static void permute(std::vector<float>& values, const std::vector<std::size_t>& order,
                      std::size_t rows_each, std::size_t inner) {
    const std::vector<float> old = values;
    const std::size_t channels = order.size();
    for (std::size_t row = 0; row < rows_each; ++row)
      for (std::size_t c = 0; c < channels; ++c)
        std::copy_n(old.begin() + static_cast<std::ptrdiff_t>((row * channels + order[c]) * inner), inner,
                    values.begin() + static_cast<std::ptrdiff_t>((row * channels + c) * inner));
  }
  static void permute_outputs(PretrainedLayer& layer, const std::vector<std::size_t>& order) {
    permute(layer.weight, order, 1, static_cast<std::size_t>(layer.c * layer.filter * layer.filter));
    for (std::vector<float>* values : {&layer.scale, &layer.shift, &layer.mean, &layer.variance})
      permute(*values, order, 1, 1);
  }
  static void permute_inputs(PretrainedLayer& layer, const std::vector<std::size_t>& order) {
    permute(layer.weight, order, static_cast<std::size_t>(layer.k),
            static_cast<std::size_t>(layer.filter * layer.filter));
  }

  /// One writer, read by `readers` alone.
  void sort_between(PretrainedLayer& writer, const std::vector<PretrainedLayer*>& readers) {
    const Moments activation = rectified_sum({}, {&writer});
    std::vector<double> importance(static_cast<std::size_t>(writer.k));
    for (const PretrainedLayer* reader : readers) add_reader(importance, activation, *reader);
    const std::vector<std::size_t> order = descending(importance);
    permute_outputs(writer, order);
    for (PretrainedLayer* reader : readers) permute_inputs(*reader, order);
  }

  void sort_inner(std::size_t stage, int64_t block) {
    sort_between(*at(stage, block, "conv1"), {at(stage, block, "conv2")});
    if (network_.spec.bottleneck) sort_between(*at(stage, block, "conv2"), {at(stage, block, "conv3")});
  }

  /// The stem's channels where the first block projects them.
  void sort_stem() { sort_between(network_.layers.front(), {at(0, 0, "conv1"), at(0, 0, "projection")}); }

  void sort_stream(std::size_t stage) {
    const ResNetSpec& spec = network_.spec;
    std::vector<PretrainedLayer*> writers, readers;
    Moments activation;
    std::vector<double> importance(static_cast<std::size_t>(spec.stage_output(stage)));
    const auto read = [&](PretrainedLayer* reader) {
      add_reader(importance, activation, *reader);
      readers.push_back(reader);
    };
    if (!spec.projects(stage, 0)) {
      writers.push_back(&network_.layers.front());
      activation = rectified_sum({}, {writers.back()});
    }
    for (int64_t block = 0; block < spec.blocks[stage]; ++block) {
      writers.push_back(last_conv(stage, block));
      if (spec.projects(stage, block)) {
        writers.push_back(at(stage, block, "projection"));
        activation = rectified_sum({}, {last_conv(stage, block), writers.back()});
      } else {
        read(at(stage, block, "conv1"));
        activation = rectified_sum(activation, {last_conv(stage, block)});
      }
    }
    const bool last = stage + 1 == spec.blocks.size();
    if (!last) {
      read(at(stage + 1, 0, "conv1"));
      read(at(stage + 1, 0, "projection"));
    } else {
      for (std::size_t i = 0; i < network_.classifier.size(); ++i) {
        const double w = static_cast<double>(network_.classifier[i]);
        importance[i % importance.size()] += activation.second[i % importance.size()] * w * w;
      }
    }
    const std::vector<std::size_t> order = descending(importance);
    for (PretrainedLayer* writer : writers) permute_outputs(*writer, order);
    for (PretrainedLayer* reader : readers) permute_inputs(*reader, order);
    if (last) permute(network_.classifier, order, static_cast<std::size_t>(network_.classes), 1);
  }

  Pretrained& network_;
  std::unordered_map<std::string, PretrainedLayer*> by_name_;
};

}  // namespace

void sort_channels(Pretrained& network) {
  Sorter(network).run();
}

}  // namespace rtfq::checkpoint
