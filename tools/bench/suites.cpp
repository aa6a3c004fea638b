#include "tools/bench/suites.h"

#include <cstdio>
#include <map>
#include <stdexcept>
#include <utility>

#include "kernels/catalog/catalog.h"
#include "models/bank.h"
#include "tools/bench/shapes.h"

namespace rtfq::lab {
namespace {

std::vector<Item> large_cases(const std::string& op) {
  std::vector<Item> items;
  for (const auto& entry : kernels::catalog::entries())
    if (entry.op == op && entry.large) items.push_back({op, "", "cpu", entry.case_name});
  return items;
}

/// What waits for memory: rows of several lengths, the fused passes with and without codes on the identity
/// path. Some 25 million elements, or as many more as x needs not to fit the last cache.
std::vector<Item> memory_items(const std::vector<std::string>& operators, int64_t cache) {
  struct Rows {
    int64_t hw, c;
  };
  struct Type {
    const char* name;
    int64_t bytes;
  };
  constexpr Rows rows[] = {{6272, 64}, {784, 512}, {196, 2048}};
  std::vector<Item> items;
  for (const Type& type : {Type{"f32", 4}, Type{"bf16", 2}}) {
    const int64_t times = 1 + cache / (memory_elements * type.bytes);
    for (const std::string& op : operators) {
      const auto add = [&](std::map<std::string, int64_t> dims) {
        Item item{op, "", "cpu", "", std::move(dims)};
        item.dtype = type.name;
        if (item.quantizer()) item.bits = 4;
        items.push_back(std::move(item));
      };
      const bool fused = op.rfind("normquant.", 0) == 0,
                 norm = op == "batchnorm.statistics" || op == "batchnorm.normalize" ||
                        op == "batchnorm.reduce" || op == "batchnorm.apply",
                 update = op == "optimizer.sgd" || op == "optimizer.moving_average" ||
                          op == "optimizer.squared_norm";
      for (const Rows& of : rows) {
        if (!norm && !fused) break;
        std::map<std::string, int64_t> dims{
            {"n", memory_images * times}, {"hw", of.hw}, {"c", of.c}, {"segments", 2}};
        add(dims);
        dims["residual"] = RTFQ_RESIDUAL_CODES, dims["identity"] = RTFQ_IDENTITY_CODES;
        if (fused) add(dims);
      }
      if (op.rfind("fakequant.", 0) == 0 || op.rfind("relu.", 0) == 0 || op == "add")
        add({{"count", memory_elements * times}});
      if (update && type.bytes == 4)
        add({{"count", memory_elements * times}, {"tensors", 161}});  // as ResNet-50 has
    }
  }
  return items;
}

}  // namespace

std::vector<std::string> suites() {
  return {"rtfq", "quick", "memory", "paper", "gpu"};
}

std::vector<Item> suite_items(const std::string& name, const std::vector<std::string>& operators,
                              int64_t cache) {
  std::vector<Item> items;
  const auto add = [&](std::vector<Item> some) { items.insert(items.end(), some.begin(), some.end()); };
  if (name == "quick") {
    // One shape an operator that is beyond the caches, as networks have it; a convolution of each kind.
    const std::pair<const char*, const char*> shapes[] = {
        {"fakequant.forward", "count=12845056"},
        {"fakequant.backward", "count=12845056"},
        {"fakequant.abs_sum", "count=12845056"},
        {"batchnorm.statistics", "n=64,hw=3136,c=64,segments=2"},
        {"batchnorm.normalize", "n=64,hw=3136,c=64,segments=2"},
        {"batchnorm.reduce", "n=64,hw=3136,c=64,segments=2"},
        {"batchnorm.apply", "n=64,hw=3136,c=64,segments=2"},
        {"normquant.forward", "n=64,hw=3136,c=64,segments=2"},
        {"normquant.reduce", "n=64,hw=3136,c=64,segments=2"},
        {"normquant.apply", "n=64,hw=3136,c=64,segments=2"},
        {"relu.forward", "count=12845056"},
        {"add", "count=12845056"},
        {"convquant.forward", "n=1,h=28,w=28,c=128,k=128,filter=3"},
        {"conv2d.forward", "n=32,h=28,w=28,c=128,k=128,filter=3"},
        {"conv2d.dgrad", "n=32,h=28,w=28,c=128,k=128,filter=3"},
        {"conv2d.wgrad", "n=32,h=28,w=28,c=128,k=128,filter=3"},
        {"linear.forward", "n=64,c=2048,k=1000"}};
    for (const auto& [op, dims] : shapes) {
      Item item{op, "", "cpu", "", parse_dims(dims)};
      if (item.quantizer()) item.bits = 4;
      items.push_back(item);
    }
    for (const char* op : {"optimizer.sgd", "optimizer.moving_average", "optimizer.squared_norm"})
      items.push_back({op, "", "cpu", "resnet50"});
  } else if (name == "memory") {
    add(memory_items(operators, cache));
  } else if (name == "gpu") {
    // What a GPU's caches do not hold, in the types it trains in; convolutions of each kind, dense and of a
    // subnet.
    for (const char* dtype : {"f32", "bf16"})
      for (const std::string& op : operators) {
        Item item{op, "", "cpu", ""};
        item.dtype = dtype;
        if (op.rfind("batchnorm.", 0) == 0)
          item.dims = parse_dims("n=64,hw=3136,c=64,segments=2");
        else if (op.rfind("fakequant.", 0) == 0 || op == "add" || op.rfind("relu.", 0) == 0)
          item.dims = parse_dims("count=12845056");
        else
          continue;
        if (item.quantizer()) item.bits = 4;
        items.push_back(item);
      }
    for (const char* op : {"conv2d.forward", "conv2d.dgrad", "conv2d.wgrad"})
      for (const char* dtype : {"bf16", "u8"})
        for (const char* dims :
             {"n=64,h=56,w=56,c=64,k=256,filter=1", "n=64,h=28,w=28,c=128,k=128,filter=3",
              "n=64,h=14,w=14,c=1024,k=256,filter=1", "n=64,h=20,w=20,c=112,k=112,filter=3,of=128",
              "n=64,h=56,w=56,c=128,k=128,filter=3,stride=2"}) {
          if (std::string(op) == "conv2d.dgrad" && std::string(dtype) == "u8") continue;
          Item item{op, "", "cpu", "", parse_dims(dims)};
          item.dtype = dtype;
          items.push_back(item);
        }
    for (const std::string& op : operators) {
      const bool other = op.rfind("normquant.", 0) == 0 || op.rfind("optimizer.", 0) == 0 ||
                         op.rfind("loss.", 0) == 0 || op == "softmax" || op.find("pool.") != op.npos ||
                         op.rfind("convert", 0) == 0;
      if (other) add(large_cases(op));
    }
    for (const char* op : {"linear.forward", "linear.dgrad", "linear.wgrad"})
      items.push_back({op, "", "cpu", "", parse_dims("n=64,c=2048,k=1000")});
  } else if (name == "paper") {
    // The paper's network at its largest and smallest subnet, batches of 32 images.
    for (const std::string& op : operators)
      for (const char* network : {"resnet50@224xb32", "resnet50@128xb32/w0.9,d0.5"})
        for (const int bits : {8, 4}) add(network_items(op, network, bits));
    for (const char* op : {"optimizer.sgd", "optimizer.moving_average", "optimizer.squared_norm"})
      items.push_back({op, "", "cpu", "resnet50"});
  } else if (name == "rtfq") {
    for (const std::string& op : operators)
      for (const char* arch : {"resnet18", "resnet50"})
        for (const Subnet& subnet : bank_preset("rtfq48").subnets()) {
          char text[64];
          std::snprintf(text, sizeof text, "%s@%dxb32/w%g,d%g", arch, subnet.resolution, subnet.width,
                        subnet.depth);
          add(network_items(op, text, subnet.bits));
        }
    for (const std::string& op : operators)
      if (op.rfind("optimizer.", 0) == 0) add(large_cases(op));
  } else {
    throw std::invalid_argument("[suite] expected rtfq, quick, memory, paper or gpu, got '" + name + "'");
  }
  return without_repeats(std::move(items));
}

}  // namespace rtfq::lab
