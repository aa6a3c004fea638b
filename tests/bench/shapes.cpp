// Shapes by the names of networks and in words.
#include "tools/bench/shapes.h"

#include <catch2/catch.hpp>
#include <set>

#include "tools/bench/suites.h"

using namespace rtfq::lab;
using Catch::Matchers::Contains;

namespace {

const Item* find(const std::vector<Item>& items, const std::string& dims) {
  for (const Item& item : items)
    if (dims_as_text(item.dims) == dims) return &item;
  return nullptr;
}

}  // namespace

TEST_CASE("shapes: dims in words, there and back") {
  const auto dims = parse_dims("n=32,hw=3136,c=64");
  CHECK(dims.at("hw") == 3136);
  CHECK(dims_as_text(dims) == "n=32,hw=3136,c=64");
  for (const char* text : {"n", "n=", "=3", "n=3x", "n=1,,c=2"})
    CHECK_THROWS_WITH(parse_dims(text), Contains("NAME=NUMBER"));
}

TEST_CASE("shapes: the convolutions of ResNet-50 by name") {
  const auto items = network_items("conv2d.forward", "resnet50@224xb32", 0);
  // 53 convolutions, 23 of them different in size (torchvision's variant).
  CHECK(items.size() == 23);
  const Item* stem = find(items, "n=32,h=224,w=224,c=3,k=64,filter=7,stride=2,pad=3,of=3");
  REQUIRE(stem);
  CHECK(stem->where == "resnet50@224xb32 stem");
  CHECK(find(items, "n=32,h=7,w=7,c=512,k=512,filter=3,stride=1,pad=1,of=512"));
  CHECK(network_items("conv2d.dgrad", "resnet50@224xb32", 0).size() ==
        22);  // nobody wants the image's gradient
}

TEST_CASE("shapes: a subnet's weights are slices of the full network's") {
  const auto items = network_items("conv2d.forward", "resnet18@112xb8/w0.9,d0.5", 0);
  const Item* one = find(items, "n=8,h=28,w=28,c=64,k=64,filter=3,stride=1,pad=1,of=64");
  CHECK(one);  // 57.6 channels are rounded to a multiple of 16
  CHECK(find(items, "n=8,h=14,w=14,c=112,k=112,filter=3,stride=1,pad=1,of=128"));
  const auto weights = network_items("fakequant.forward", "resnet18@112xb8/w0.9,d0.5", 8);
  const Item* weight = find(weights, "c=112,k=112,rs=9,of=128");
  REQUIRE(weight);
  CHECK(weight->bits == 8);
  CHECK(weight->is_signed);
  const Item* activation = find(weights, "count=" + std::to_string(8 * 14 * 14 * 112));
  REQUIRE(activation);
  CHECK_FALSE(activation->is_signed);
}

TEST_CASE("shapes: the fused passes of a network, as training and deployment call them") {
  const auto norms = network_items("normquant.forward", "resnet50@224xb32", 4);
  // Behind the first bottleneck's sum another block adds; behind a stage's last one a projection reads codes.
  CHECK(find(norms, "n=32,hw=3136,c=64,segments=2"));
  CHECK(find(norms, "n=32,hw=3136,c=256,segments=2,residual=norm,identity=codes"));
  CHECK(find(norms, "n=32,hw=3136,c=256,segments=2,residual=codes,identity=codes"));
  CHECK(find(norms, "n=32,hw=3136,c=256,segments=2,residual=codes"));
  const Item* last = find(norms, "n=32,hw=49,c=2048,segments=2,residual=codes");
  REQUIRE(last);
  CHECK(last->bits == 8);                                     // what is pooled has the identity path's
  CHECK_FALSE(find(norms, "n=32,hw=12544,c=64,segments=2"));  // the stem is pooled first
  const auto convs = network_items("convquant.forward", "resnet18@112xb1/w0.9,d0.5", 4);
  CHECK(find(convs, "n=1,h=28,w=28,c=64,k=112,filter=1,stride=2,pad=0,of=64,z=1"));
  CHECK(find(convs, "n=1,h=14,w=14,c=112,k=112,filter=3,stride=1,pad=1,of=128,residual=values"));
  CHECK(find(network_items("loss.cross_entropy", "resnet18@112xb64", 0), "n=64,k=1000"));
  CHECK(parse_dims("c=8,residual=norm,identity=codes") ==
        std::map<std::string, int64_t>{{"c", 8}, {"residual", 3}, {"identity", 1}});
}

TEST_CASE("shapes: what is no network is refused with an example") {
  for (const char* text :
       {"resnet50@224", "resnet50@x", "resnet50@224xb", "resnet50@224xb32/q3", "resnet50@0xb1"})
    CHECK_THROWS_WITH(network_items("add", text, 0), Contains("resnet50@224xb32"));
  CHECK_THROWS_WITH(network_items("add", "vgg@224xb32", 0), Contains("resnet18"));
}

TEST_CASE("shapes: a suite has every operator once a shape") {
  const std::vector<std::string> ops{"fakequant.forward", "batchnorm.apply", "conv2d.wgrad", "linear.forward",
                                     "add"};
  const auto all = suite_items("rtfq", ops);
  std::set<std::string> names;
  for (const Item& item : all) CHECK(names.insert(item.name()).second);
  CHECK(all.size() > 1000);  // two networks at 48 subnets
  CHECK(suite_items("paper", ops).size() < all.size());
  // Of what has no shape in a network, the two networks' cases.
  CHECK(suite_items("rtfq", {"optimizer.sgd"}).size() == 2);
  CHECK(suite_items("rtfq", {"softmax"}).size() == 1);
  // Operands that wait for memory are longer than the cache.
  const auto longest = [](int64_t cache) {
    return suite_items("memory", {"batchnorm.apply"}, cache).front().dims.at("n");
  };
  CHECK(longest(int64_t{32} << 20) == 64);
  CHECK(longest(int64_t{480} << 20) * 784 * 512 * 4 > int64_t{480} << 20);
  CHECK_THROWS_WITH(suite_items("none", ops), Contains("quick"));
}
