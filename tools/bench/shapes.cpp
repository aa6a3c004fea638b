#include "tools/bench/shapes.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "kernels/catalog/custom.h"
#include "models/resnet.h"

namespace rtfq::lab {
namespace {

/// "resnet50@224xb32/w0.9,d0.5".
struct Network {
  std::string arch;
  Subnet subnet;
  int64_t batch = 0;
};

[[noreturn]] void refuse(const std::string& text) {
  throw std::invalid_argument(
      "[shape] expected NETWORK@PIXELSxbBATCH, such as resnet50@224xb32 or resnet18@112xb64/w0.9,d0.5, "
      "got '" +
      text + "'");
}

double number(const std::string& word, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  if (word.empty() || *end || !(value > 0)) refuse(text);
  return value;
}

Network parse_network(const std::string& text) {
  const std::size_t at = text.find('@'), batch = text.find("xb", at),
                    slash = std::min(text.find('/', at), text.size());
  if (at == text.npos || batch == text.npos || batch > slash) refuse(text);
  Network network;
  network.arch = text.substr(0, at);
  network.subnet.resolution = static_cast<int>(number(text.substr(at + 1, batch - at - 1), text));
  network.batch = static_cast<int64_t>(number(text.substr(batch + 2, slash - batch - 2), text));
  for (std::size_t i = slash; i < text.size();) {
    const std::size_t end = std::min(text.find(',', i + 1), text.size());
    const std::string part = text.substr(i + 1, end - i - 1);
    if (part.size() < 2 || (part[0] != 'w' && part[0] != 'd')) refuse(text);
    (part[0] == 'w' ? network.subnet.width : network.subnet.depth) = number(part.substr(1), text);
    i = end;
  }
  return network;
}

constexpr int channel_multiple = 16;

/// Walks a subnet's convolutions together with the input channels that their stored weights have.
template <class F>
void for_each_conv(const Network& network, F&& f) {
  const ResNetSpec spec = resnet_spec(network.arch);
  Subnet full = network.subnet;
  full.width = 1;
  const auto own = plan(spec, network.subnet, channel_multiple, 3),
             parents = plan(spec, full, channel_multiple, 3);
  for (std::size_t i = 0; i < own.size(); ++i) f(own[i], parents[i].c);
}

int64_t output_size(const ConvPlan& conv, int64_t size) {
  return (size + 2 * (conv.filter / 2) - conv.filter) / conv.stride + 1;
}

/// Shapes of the activations that a network quantizes: every convolution's normalized output, and the image.
template <class F>
void for_each_activation(const Network& network, F&& f) {
  f("image", network.batch, int64_t{network.subnet.resolution} * network.subnet.resolution, int64_t{3});
  for_each_conv(network, [&](const ConvPlan& conv, int64_t) {
    f(conv.name, network.batch, output_size(conv, conv.h) * output_size(conv, conv.w), conv.k);
  });
}

/// A sum that a network quantizes, as the fused passes have it: what is added to a convolution's norm, and
/// whether the identity path reads codes of its own of it (kernels/normquant.h).
struct QuantizedSum {
  const ConvPlan* conv;
  int64_t parent;  ///< input channels of the stored weights
  rtfq_residual residual = RTFQ_RESIDUAL_NONE;
  rtfq_identity identity = RTFQ_IDENTITY_NONE;
  bool last = false;  ///< only the pooling reads it: the identity's 8 bits are all there is
};

/// Walks the sums of a network, whose blocks' names are those of their convolutions up to the last point,
/// with 8 bits on the identity path. What a max pooling stands before is no such sum. Projections come apart.
template <class F, class G>
void for_each_sum(const Network& network, F&& f, G&& projection) {
  std::vector<ConvPlan> convs;
  std::vector<int64_t> parents;
  for_each_conv(network, [&](const ConvPlan& conv, int64_t parent) {
    convs.push_back(conv);
    parents.push_back(parent);
  });
  const auto block_of = [](const ConvPlan& conv) { return conv.name.substr(0, conv.name.rfind('.')); };
  const auto projects = [&](const std::string& block) {
    return std::any_of(convs.begin(), convs.end(),
                       [&](const ConvPlan& conv) { return conv.name == block + ".projection"; });
  };
  std::vector<QuantizedSum> sums;
  for (std::size_t i = 0; i < convs.size(); ++i)
    convs[i].name.ends_with(".projection") ? projection(convs[i], parents[i])
                                           : sums.push_back({&convs[i], parents[i]});
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::string block = block_of(*sums[i].conv);
    sums[i].last = i + 1 == sums.size();
    const bool ends = sums[i].last || block_of(*sums[i + 1].conv) != block;
    if (ends && block != "stem")
      sums[i].residual = projects(block) ? RTFQ_RESIDUAL_NORM : RTFQ_RESIDUAL_CODES;
    if (ends && !sums[i].last && !projects(block_of(*sums[i + 1].conv)))
      sums[i].identity = RTFQ_IDENTITY_CODES;
    if (block != "stem" || !resnet_spec(network.arch).stem_pool) f(sums[i]);
  }
}

}  // namespace

std::vector<Item> network_items(const std::string& op, const std::string& text, int bits) {
  const Network network = parse_network(text);
  std::vector<Item> items;
  const auto add = [&](const std::string& name, std::map<std::string, int64_t> dims, int quantized = 0,
                       bool is_signed = false) {
    std::erase_if(dims, [](const auto& dim) {  // what is not there goes without saying
      return dim.second == 0 && (dim.first == "residual" || dim.first == "identity");
    });
    Item item{op, "", "cpu", "", std::move(dims)};
    item.bits = quantized;
    item.is_signed = is_signed;
    item.where = text + " " + name;
    items.push_back(std::move(item));
  };
  const auto last_channels = [&] {
    int64_t k = 0;
    for_each_conv(network, [&](const ConvPlan& conv, int64_t) {
      if (!conv.name.ends_with(".projection")) k = conv.k;
    });
    return k;
  };
  const auto dims_of = [&](const ConvPlan& conv, int64_t parent) {
    return std::map<std::string, int64_t>{
        {"n", network.batch}, {"h", conv.h},           {"w", conv.w},           {"c", conv.c},
        {"k", conv.k},        {"filter", conv.filter}, {"stride", conv.stride}, {"pad", conv.filter / 2},
        {"of", parent}};
  };
  const int its_bits = bits ? bits : 4;
  constexpr int64_t classes = 1000;
  if (op.rfind("conv2d.", 0) == 0 || op == "int4.conv2d") {
    for_each_conv(network, [&](const ConvPlan& conv, int64_t parent) {
      if (op == "conv2d.dgrad" && conv.name == "stem") return;  // nobody wants the image's gradient
      if (op == "int4.conv2d" && conv.name == "stem") return;   // its weights have 8 bits
      add(conv.name, dims_of(conv, parent));
    });
  } else if (op.rfind("normquant.", 0) == 0) {
    for_each_sum(
        network,
        [&](const QuantizedSum& sum) {
          const ConvPlan& conv = *sum.conv;
          add(conv.name,
              {{"n", network.batch},
               {"hw", output_size(conv, conv.h) * output_size(conv, conv.w)},
               {"c", conv.k},
               {"segments", network.batch > 1 ? 2 : 1},
               {"residual", sum.residual},
               {"identity", sum.identity}},
              sum.last ? 8 : its_bits);
        },
        [](const ConvPlan&, int64_t) {});
  } else if (op.rfind("convquant.", 0) == 0) {
    for_each_sum(
        network,
        [&](const QuantizedSum& sum) {
          auto dims = dims_of(*sum.conv, sum.parent);
          // A projection's norm is computed first, and added as values.
          dims["residual"] = sum.residual == RTFQ_RESIDUAL_NORM ? RTFQ_RESIDUAL_VALUES : sum.residual;
          dims["identity"] = sum.identity;
          if (sum.conv->name == "stem") dims["signed"] = 1;
          if (sum.last) dims["x_bits"] = its_bits;
          add(sum.conv->name, std::move(dims), sum.last ? 8 : its_bits);
        },
        [&](const ConvPlan& conv, int64_t parent) {
          auto dims = dims_of(conv, parent);
          dims["z"] = 1;
          add(conv.name, std::move(dims), its_bits);
        });
  } else if (op == "int4.quantize") {
    if (its_bits <= 4)
      for_each_conv(network, [&](const ConvPlan& conv, int64_t parent) {
        if (conv.name == "stem") return;
        add(conv.name + " weights",
            {{"k", conv.k}, {"rs", conv.filter * conv.filter}, {"c", conv.c}, {"of", parent}}, its_bits,
            true);
      });
  } else if (op.rfind("maxpool.", 0) == 0) {
    for_each_conv(network, [&](const ConvPlan& conv, int64_t) {
      if (conv.name == "stem" && resnet_spec(network.arch).stem_pool)
        add("stem", {{"n", network.batch},
                     {"h", output_size(conv, conv.h)},
                     {"w", output_size(conv, conv.w)},
                     {"c", conv.k},
                     {"window", 3},
                     {"stride", 2},
                     {"pad", 1}});
    });
  } else if (op.rfind("avgpool.", 0) == 0) {
    std::map<std::string, int64_t> dims;
    for_each_conv(network, [&](const ConvPlan& conv, int64_t) {
      dims = {{"n", network.batch},
              {"h", output_size(conv, conv.h)},
              {"w", output_size(conv, conv.w)},
              {"c", conv.k}};
    });
    add("features", std::move(dims));
  } else if (op.rfind("linear.", 0) == 0) {
    add("classifier", {{"n", network.batch}, {"c", last_channels()}, {"k", classes}});
  } else if (op.rfind("loss.", 0) == 0 || op == "softmax") {
    add("logits", {{"n", network.batch}, {"k", classes}});
  } else if (op.rfind("fakequant.", 0) == 0) {
    for_each_activation(network, [&](const std::string& name, int64_t n, int64_t hw, int64_t c) {
      if (op == "fakequant.backward" && name == "image") return;
      add(name, {{"count", n * hw * c}}, its_bits, name == "image");
    });
    for_each_conv(network, [&](const ConvPlan& conv, int64_t parent) {
      add(conv.name + " weights",
          {{"k", conv.k}, {"rs", conv.filter * conv.filter}, {"c", conv.c}, {"of", parent}}, its_bits, true);
    });
  } else if (op.rfind("batchnorm.", 0) == 0 && !kernels::catalog::dims_text(op).empty()) {
    for_each_activation(network, [&](const std::string& name, int64_t n, int64_t hw, int64_t c) {
      // Source and target images of a training step are two segments.
      if (name != "image") add(name, {{"n", n}, {"hw", hw}, {"c", c}, {"segments", n > 1 ? 2 : 1}});
    });
  } else if (op == "add" || op.rfind("relu.", 0) == 0) {
    for_each_activation(network, [&](const std::string& name, int64_t n, int64_t hw, int64_t c) {
      if (name != "image") add(name, {{"count", n * hw * c}});
    });
  }
  return without_repeats(std::move(items));
}

std::vector<std::string> read_shapes(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::invalid_argument("[shape] cannot read " + file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    line.erase(0, line.find_first_not_of(" \t"));
    if (!line.empty() && line[0] != '#') lines.push_back(line.substr(0, line.find_last_not_of(" \t\r") + 1));
  }
  return lines;
}

std::vector<Item> without_repeats(std::vector<Item> items) {
  std::vector<Item> kept;
  std::map<std::string, std::size_t> seen;
  for (Item& item : items) {
    const auto [at, added] = seen.try_emplace(item.name(), kept.size());
    if (added) {
      kept.push_back(std::move(item));
      continue;
    }
    Item& first = kept[at->second];
    // A network's layer after layer; a dozen names are enough for a person.
    if (first.where.size() < 200)
      first.where += ", " + item.where.substr(item.where.find(' ') + 1);
    else if (!first.where.ends_with(" ..."))
      first.where += " ...";
  }
  return kept;
}

}  // namespace rtfq::lab
