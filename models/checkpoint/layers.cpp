#include "models/checkpoint/layers.h"

namespace rtfq::checkpoint {

std::vector<LayerName> layer_names(const ResNetSpec& spec, int64_t image_channels) {
  std::vector<LayerName> names{
      {"stem", "conv1", "bn1", spec.stem_channels, image_channels, spec.stem_filter}};
  int64_t c = spec.stem_channels;
  for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage) {
    const int64_t mid = spec.channels[stage], out = spec.stage_output(stage);
    for (int64_t i = 0; i < spec.blocks[stage]; ++i) {
      const std::string number = std::to_string(stage + 1), block = std::to_string(i);
      const std::string ours = "stage" + number + ".block" + block, theirs = "layer" + number + "." + block;
      const auto conv = [&](int index, int64_t in, int64_t k, int64_t filter) {
        const std::string n = std::to_string(index);
        names.push_back({ours + ".conv" + n, theirs + ".conv" + n, theirs + ".bn" + n, k, in, filter});
      };
      if (spec.bottleneck) {
        conv(1, c, mid, 1);
        conv(2, mid, mid, 3);
        conv(3, mid, out, 1);
      } else {
        conv(1, c, mid, 3);
        conv(2, mid, out, 3);
      }
      if (spec.projects(stage, i))
        names.push_back(
            {ours + ".projection", theirs + ".downsample.0", theirs + ".downsample.1", out, c, 1});
      c = out;
    }
  }
  return names;
}

}  // namespace rtfq::checkpoint
