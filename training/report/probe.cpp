#include "training/report/probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/transform.h"
#include "training/losses.h"
#include "training/network.h"

namespace rtfq::report {
namespace {

constexpr std::size_t pictures_of_a_kind = 16;
constexpr int least_picture = 96;  ///< pixels; small images keep the size that the network sees

/// Samples evenly spread over a data set: folders list images class by class.
data::Dataset spread(const data::Dataset& all, int64_t limit) {
  data::Dataset out{all.origin, all.classes, {}};
  const auto count = static_cast<int64_t>(all.samples.size());
  const int64_t wanted = std::min(limit, count);
  for (int64_t i = 0; i < wanted; ++i)
    out.samples.push_back(all.samples[static_cast<std::size_t>(i * count / wanted)]);
  return out;
}

/// The codes of `x` added to `into`.
void count_codes(const Quantizer& quantizer, const Tensor& x, int bits, CodeCounts& into) {
  const QuantizerOptions& options = quantizer.options();
  Tensor step = quantizer.step(bits).value;
  if (options.rows > 1) step = step.leading(0, x.dim(0));
  const Tensor codes = QTensor::quantize(x, step, bits, options.is_signed, options.symmetric).codes;
  const auto count = [&](const auto* values) {
    for (int64_t i = 0; i < codes.count(); ++i)
      ++into.counts[static_cast<std::size_t>(values[i] - into.lowest)];
  };
  if (codes.dtype() == DType::u8)
    count(codes.as<uint8_t>());
  else
    count(codes.as<int8_t>());
}

/// Listens to a network's quantizers while it lives.
class Listener {
 public:
  Listener(Supernet& network, SubnetCodes& into) : network_(network), into_(into) {
    for (Quantizer* quantizer : network_.quantizers())
      quantizer->observe([this](const Quantizer& q, const Tensor& x, int bits) { hear(q, x, bits); });
  }
  ~Listener() {
    for (Quantizer* quantizer : network_.quantizers()) quantizer->observe({});
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  void hear(const Quantizer& quantizer, const Tensor& x, int bits) {
    auto& all = into_.quantizers;
    auto found =
        std::find_if(all.begin(), all.end(), [&](const CodeCounts& c) { return c.name == quantizer.name(); });
    if (found == all.end()) {
      const auto bounds = quantizer.bounds(bits);
      all.push_back({quantizer.name(), quantizer.options().weight, bits, -bounds.qn,
                     std::vector<double>(static_cast<std::size_t>(bounds.qn + bounds.qp + 1))});
      found = all.end() - 1;
    } else if (found->weight) {
      return;  // the same weights again
    }
    count_codes(quantizer, x, bits, *found);
  }

  Supernet& network_;
  SubnetCodes& into_;
};

struct Judgement {
  std::size_t sample;
  int label, predicted;
  double probability;
};

std::vector<Judgement> judge(const Tensor& logits, const data::Batch& batch) {
  const std::vector<float> p = softmax(logits, 1.0).to_vector();
  const auto k = static_cast<std::size_t>(logits.dim(1));
  std::vector<Judgement> out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch.n); ++i) {
    const auto row = p.begin() + static_cast<std::ptrdiff_t>(i * k);
    const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(k));
    out.push_back(
        {batch.indices[i], batch.labels.empty() ? -1 : batch.labels[i], static_cast<int>(best - row), *best});
  }
  return out;
}

Picture picture_of(const Judgement& j, const data::Dataset& images, const Config& config) {
  const data::Sample& sample = images.samples[j.sample];
  const int resolution = config.model.bank.resolutions.front();
  data::Image image =
      data::prepare(data::load_image(sample.path, config.data.channels, decoding_of(config.data)),
                    config.data.augmentation, resolution);
  if (resolution > 2 * least_picture) image = data::resize_image(image, least_picture, least_picture);
  return {std::move(image), sample.path, j.label, j.predicted, j.probability};
}

void choose_pictures(Probe& out, std::vector<Judgement> all, const data::Dataset& images,
                     const Config& config) {
  const auto by_confidence = [](const Judgement& a, const Judgement& b) {
    return a.probability > b.probability;
  };
  std::vector<Judgement> worse, better;
  if (out.labelled) {
    for (const Judgement& j : all) (j.predicted == j.label ? better : worse).push_back(j);
    out.accuracy = 100.0 * static_cast<double>(better.size()) /
                   static_cast<double>(std::max<std::size_t>(1, all.size()));
    std::stable_sort(worse.begin(), worse.end(), by_confidence);
    // Right ones as they come, evenly spread, so that all classes have a chance.
    std::vector<Judgement> some;
    const std::size_t count = std::min(pictures_of_a_kind, better.size());
    for (std::size_t i = 0; i < count; ++i) some.push_back(better[i * better.size() / count]);
    better = some;
  } else {
    std::stable_sort(all.begin(), all.end(), by_confidence);
    better = all;
    worse.assign(all.rbegin(), all.rend());
    const std::size_t half = all.size() / 2;
    worse.resize(std::min(worse.size(), std::max<std::size_t>(1, half)));
    better.resize(std::min(better.size(), all.size() - worse.size()));
  }
  for (const auto& [from, to] : {std::pair{&worse, &out.worse}, std::pair{&better, &out.better}}) {
    from->resize(std::min(from->size(), pictures_of_a_kind));
    for (const Judgement& j : *from) to->push_back(picture_of(j, images, config));
  }
}

}  // namespace

double CodeCounts::total() const {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}
int CodeCounts::used() const {
  return static_cast<int>(
      std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; }));
}

std::vector<std::string> Probe::warnings() const {
  std::vector<std::string> out;
  for (const SubnetCodes& of_subnet : codes)
    for (const CodeCounts& c : of_subnet.quantizers)
      if (c.dead())
        out.push_back("dead quantizer: " + c.name + (c.weight ? ", weights," : ", activations,") +
                      " gives one code only at " + std::to_string(c.bits) + " bits in " +
                      id(of_subnet.subnet));
  return out;
}

Probe probe(TrainedBank& bank, const data::Dataset& images, Domain domain, const std::vector<Subnet>& subnets,
            int64_t limit) {
  const data::Dataset some = spread(images, limit);
  Probe out;
  out.domain = domain;
  out.origin = images.origin;
  out.labelled = some.labelled();
  out.classes = bank.classes;
  out.shown = subnets.front();
  data::LoaderOptions options = loader_options(bank.config, domain, false);
  const int resize = options.augmentation.resize;
  options.augmentation = {};
  options.augmentation.resize = resize;
  options.batch = options.resolution <= 64 ? 64 : 16;
  data::Loader loader(some, options);
  std::vector<Judgement> judgements;
  for (const Subnet& subnet : subnets) {
    SubnetCodes codes{subnet, {}};
    bank.network->weights_changed();  // so that weights are quantized anew, where the listener hears it
    const Listener listener(*bank.network, codes);
    loader.seek(0);
    for (int64_t i = 0; i < loader.steps_per_epoch(); ++i) {
      const data::Batch batch = loader.next();
      if (batch.n == 0) continue;
      Tape tape(false);
      const Tensor largest =
          ops::normalize({}, batch.pixels, {batch.n, batch.height, batch.width, batch.channels},
                         bank.config.data.mean, bank.config.data.deviation);
      const Tensor x = ops::resize({}, largest, subnet.resolution, subnet.resolution);
      const BatchPart part{domain, x.dim(0)};
      const Tensor logits =
          bank.network->forward(tape, subnet, x, std::span(&part, 1), NormMode::stored).data;
      if (subnet == subnets.front())
        for (const Judgement& j : judge(logits, batch)) judgements.push_back(j);
    }
    if (!codes.quantizers.empty()) out.codes.push_back(std::move(codes));
  }
  out.images = static_cast<int64_t>(judgements.size());
  choose_pictures(out, std::move(judgements), some, bank.config);
  return out;
}

std::vector<Subnet> telling_subnets(const Config& config) {
  const std::vector<Subnet> trained = trained_subnets(config);
  Subnet low = trained.front();
  low.bits = trained.back().bits;
  std::vector<Subnet> out{trained.front()};
  for (const Subnet& subnet : {low, trained.back()})
    if (std::find(out.begin(), out.end(), subnet) == out.end()) out.push_back(subnet);
  return out;
}

}  // namespace rtfq::report
