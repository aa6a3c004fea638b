#include "models/resnet.h"

#include <charconv>
#include <map>
#include <stdexcept>

namespace rtfq {

std::vector<std::string> resnet_names() {
  return {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet14_small"};
}

namespace {

/// The channels of "resnet50_w8", and the name before it; 64 where there is no such ending.
std::pair<std::string, int64_t> split_width(const std::string& arch) {
  const std::size_t mark = arch.rfind("_w");
  if (mark == arch.npos) return {arch, 64};
  int64_t width = 0;
  const char* end = arch.data() + arch.size();
  const auto result = std::from_chars(arch.data() + mark + 2, end, width);
  if (result.ec != std::errc() || result.ptr != end || width < 1 || width > 1024) return {arch, 64};
  return {arch.substr(0, mark), width};
}

}  // namespace

ResNetSpec resnet_spec(const std::string& full_name) {
  const auto [arch, width] = split_width(full_name);
  if (width != 64 && arch != "resnet14_small") {
    ResNetSpec spec = resnet_spec(arch);
    spec.name = full_name;
    spec.stem_channels = width;
    for (std::size_t stage = 0; stage < spec.channels.size(); ++stage) spec.channels[stage] = width << stage;
    return spec;
  }
  const std::vector<int64_t> wide{64, 128, 256, 512};
  if (arch == "resnet18") return {arch, 64, 7, true, false, {2, 2, 2, 2}, wide};
  if (arch == "resnet34") return {arch, 64, 7, true, false, {3, 4, 6, 3}, wide};
  if (arch == "resnet50") return {arch, 64, 7, true, true, {3, 4, 6, 3}, wide};
  if (arch == "resnet101") return {arch, 64, 7, true, true, {3, 4, 23, 3}, wide};
  if (arch == "resnet152") return {arch, 64, 7, true, true, {3, 8, 36, 3}, wide};
  if (arch == "resnet14_small") return {arch, 32, 5, false, false, {2, 2, 2}, {32, 64, 128}};
  std::string names;
  for (const std::string& name : resnet_names()) names += (names.empty() ? "" : ", ") + name;
  throw std::invalid_argument("[model] unknown arch '" + full_name + "': expected one of " + names);
}

int64_t ConvPlan::macs() const {
  const int64_t p = (h + 2 * (filter / 2) - filter) / stride + 1,
                q = (w + 2 * (filter / 2) - filter) / stride + 1;
  return p * q * k * c * filter * filter;
}

std::vector<ConvPlan> plan(const ResNetSpec& spec, const Subnet& subnet, int multiple,
                           int64_t image_channels) {
  std::vector<ConvPlan> convs;
  const auto scaled = [&](int64_t channels) { return scaled_channels(channels, subnet.width, multiple); };
  const auto halved = [](int64_t size) { return (size + 1) / 2; };
  int64_t size = subnet.resolution, c = scaled(spec.stem_channels);
  const auto push = [&](std::string name, int64_t in, int64_t out, int64_t filter, int64_t stride,
                        int64_t at) {
    convs.push_back({std::move(name), in, out, filter, stride, at, at});
  };
  push("stem", image_channels, c, spec.stem_filter, 2, size);
  size = halved(size);
  if (spec.stem_pool) size = halved(size);
  for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage) {
    const int64_t mid = scaled(spec.channels[stage]), out = scaled(spec.stage_output(stage));
    for (int64_t block = 0; block < scaled_blocks(spec.blocks[stage], subnet.depth); ++block) {
      const std::string name = "stage" + std::to_string(stage + 1) + ".block" + std::to_string(block);
      const int64_t stride = spec.stride(stage, block), after = stride == 2 ? halved(size) : size;
      if (spec.bottleneck) {
        push(name + ".conv1", c, mid, 1, 1, size);
        push(name + ".conv2", mid, mid, 3, stride, size);
        push(name + ".conv3", mid, out, 1, 1, after);
      } else {
        push(name + ".conv1", c, mid, 3, stride, size);
        push(name + ".conv2", mid, out, 3, 1, after);
      }
      if (spec.projects(stage, block)) push(name + ".projection", c, out, 1, stride, size);
      c = out;
      size = after;
    }
  }
  return convs;
}

void require_distinct(const ResNetSpec& spec, const Bank& bank) {
  std::map<std::vector<int64_t>, Subnet> seen;
  for (double width : bank.widths)
    for (double depth : bank.depths) {
      const Subnet subnet{width, depth, bank.resolutions.front(), bank.bits.front()};
      std::vector<int64_t> signature;
      std::string channels;
      for (const ConvPlan& conv : plan(spec, subnet, bank.multiple, 3)) {
        signature.push_back(conv.k);
        channels += (channels.empty() ? "" : " ") + std::to_string(conv.k);
      }
      const auto [other, inserted] = seen.emplace(signature, subnet);
      if (!inserted)
        throw std::invalid_argument(
            "[bank] " + id(other->second) + " and " + id(subnet) + " are the same network for " + spec.name +
            " with channels in multiples of " + std::to_string(bank.multiple) + " (" + channels +
            "): move the widths or depths further apart, or lower bank.multiple");
    }
}

}  // namespace rtfq
