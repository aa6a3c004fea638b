#include "models/packed/walk.h"

namespace rtfq::packed {

Walk walk(const ResNetSpec& spec, const Subnet& subnet, int multiple, int64_t image_channels,
          Residual residual) {
  Walk w;
  w.convs = plan(spec, subnet, multiple, image_channels);
  w.stem_pool = spec.stem_pool;
  for (const ConvPlan& conv : w.convs) {
    w.norm_offsets.push_back(w.norm_channels);
    w.norm_channels += conv.k;
  }
  for (std::size_t i = 1; i < w.convs.size(); ++i) {
    const std::string& name = w.convs[i].name;
    const std::size_t dot = name.rfind('.');
    if (w.blocks.empty() || w.blocks.back().name != name.substr(0, dot))
      w.blocks.push_back({name.substr(0, dot), {}, {}, {}});
    BlockWalk& block = w.blocks.back();
    if (name.substr(dot) == ".projection") {
      block.projection = i;
    } else {
      block.convs.push_back(i);
      w.features = w.convs[i].k;
    }
  }
  const auto after = [&](std::size_t done) {
    if (done < w.blocks.size()) return SumForms{true, !w.blocks[done].projection};
    return SumForms{residual == Residual::codes, true};
  };
  w.stem = after(0);
  for (std::size_t i = 0; i < w.blocks.size(); ++i) w.blocks[i].forms = after(i + 1);
  return w;
}

std::vector<UsedActivation> activations_of(const Walk& w, Residual residual) {
  std::vector<UsedActivation> used{{"input", true, true, false}};
  const auto add_sum = [&](const std::string& name, SumForms forms) {
    if (forms.codes) used.push_back({name, false, false, false});
    if (forms.identity && residual == Residual::eight_bits)
      used.push_back({name + ".identity", false, false, true});
  };
  add_sum("stem.output", w.stem);
  for (const BlockWalk& block : w.blocks) {
    for (std::size_t i = 1; i < block.convs.size(); ++i)
      used.push_back({block.name + ".inner" + std::to_string(i), false, false, false});
    add_sum(block.name + ".output", block.forms);
  }
  used.push_back({"features", false, true, false});
  return used;
}

}  // namespace rtfq::packed
