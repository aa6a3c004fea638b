#include "tools/imagenet.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "kernels/runtime/device.h"
#include "models/checkpoint/pretrained.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "training/predictions.h"

namespace rtfq::cli {
namespace {

constexpr int resolution = 224;

/// How torchvision's recipes prepare images for evaluation. Mean and deviation are the configuration's
/// defaults.
Config preparation(const ImageNetOptions& options) {
  Config config;
  config.model.bank = {{1}, {1}, {resolution}, {float_bits}, 16};
  config.data.resize = options.recipe == "v2" ? 232 : 256;
  config.data.cache_mib = 0;  // every image is looked at once
  config.train.method = "source_only";
  return config;
}

/// The network's classes are numbers; folders name them in their order, so that not one may be missing.
data::Dataset open_images(const std::string& where, int64_t classes) {
  const auto count = static_cast<std::size_t>(classes);
  if (std::filesystem::is_directory(where)) {
    data::Dataset folders = data::open_dataset(where);
    if (!folders.labelled())
      throw std::invalid_argument("[eval] " + where +
                                  " has no class folders: give a list file of lines `path label` instead, "
                                  "labels from 0 or synset names");
    if (folders.classes.size() != count)
      throw std::invalid_argument("[eval] " + where + " has " + std::to_string(folders.classes.size()) +
                                  " class folders, the network " + std::to_string(count) +
                                  " classes: labels are positions among all folders");
    return folders;
  }
  // Numbers may leave classes out that do not occur; names may not.
  data::Dataset list = data::open_dataset(where);
  const bool numbers = std::all_of(list.classes.begin(), list.classes.end(), [](const std::string& name) {
    return name.find_first_not_of("0123456789") == name.npos;
  });
  if (!list.labelled() || (numbers ? list.classes.size() > count : list.classes.size() != count))
    throw std::invalid_argument("[eval] the list " + where + " has " + std::to_string(list.classes.size()) +
                                " classes, the network " + std::to_string(count) +
                                ": expected labels from 0, or as many names");
  return list;
}

/// Of `probabilities`, those above that of `label`: 0 where the answer is right.
int64_t rank_of(const float* probabilities, int64_t classes, int32_t label) {
  int64_t rank = 0;
  for (int64_t k = 0; k < classes; ++k)
    rank +=
        probabilities[k] > probabilities[label] || (k < label && probabilities[k] == probabilities[label]);
  return rank;
}

}  // namespace

int evaluate_imagenet(const ImageNetOptions& options) {
  const auto pretrained = as_usage([&] { return checkpoint::read_pretrained(options.checkpoint); });
  const Subnet subnet{1, 1, resolution, float_bits};
  const auto network = as_usage([&] { return checkpoint::as_supernet(pretrained, subnet, 16); });
  const Config config = preparation(options);
  const data::Dataset dataset =
      as_usage([&] { return open_images(options.images, network->options().classes); });
  if (options.threads > 0) kernels::runtime::set_threads(options.threads);
  PreparedImages images(config, dataset, Domain::source, PreparedImages::Order::as_listed);
  int64_t seen = 0, first = 0, five = 0;
  CountProgress progress("classifying images:");
  predict(*network, subnet, Domain::source, images, [&](const Tensor& p, const data::Batch& batch) {
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      const int64_t rank =
          rank_of(p.as<float>() + static_cast<int64_t>(i) * p.dim(1), p.dim(1), batch.labels[i]);
      ++seen;
      first += rank == 0;
      five += rank < 5;
    }
    progress(seen, static_cast<int64_t>(dataset.samples.size()));
  });
  const auto percent = [&](int64_t part) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(seen);
  };
  std::printf(
      "network   %s, %s\nimages    %lld of %zu classes\npixels    shorter side to %d, centre %d x %d, "
      "bilinear\n"
      "top 1     %.3f %%\ntop 5     %.3f %%\n",
      pretrained.spec.name.c_str(), pretrained.origin.file.c_str(), static_cast<long long>(seen),
      static_cast<std::size_t>(network->options().classes), config.data.resize, resolution, resolution,
      percent(first), percent(five));
  if (seen != 50000) note("the validation set has 50,000 images, here are " + std::to_string(seen));
  return done;
}

}  // namespace rtfq::cli
