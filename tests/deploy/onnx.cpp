// ONNX files, read back and computed by a small interpreter of what the export writes: in double, but for the
// rounding of QuantizeLinear.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "models/deploy/program.h"
#include "models/onnx/export.h"
#include "tests/deploy/banks.h"

using namespace rtfq;
using namespace rtfq::test;

namespace {

/// Fields of a protocol buffer, in order.
struct Field {
  int number;
  uint64_t value = 0;
  std::string_view bytes;
};
std::vector<Field> fields_of(std::string_view proto) {
  std::vector<Field> fields;
  std::size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < proto.size());
      const auto byte = static_cast<unsigned char>(proto[at++]);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
  };
  while (at < proto.size()) {
    const uint64_t key = varint();
    Field field{static_cast<int>(key >> 3), 0, {}};
    if ((key & 7) == 0) {
      field.value = varint();
    } else {
      REQUIRE((key & 7) == 2);
      const uint64_t size = varint();
      REQUIRE(size <= proto.size() - at);
      field.bytes = proto.substr(at, size);
      at += size;
    }
    fields.push_back(field);
  }
  return fields;
}

struct Array {
  std::vector<int64_t> dims;
  std::vector<double> values;
  bool is_signed = false;  ///< of a zero point
};

struct Node {
  std::string op, output;
  std::vector<std::string> inputs;
  std::map<std::string, std::vector<int64_t>> attributes;
};

struct Network {
  std::vector<Node> nodes;
  std::map<std::string, Array> constants;
};

template <class T>
std::vector<double> raw(std::string_view bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return {values.begin(), values.end()};
}

Network read(const std::string& file) {
  Network net;
  for (const Field& top : fields_of(file)) {
    if (top.number == 1) CHECK(top.value == 8);
    if (top.number != 7) continue;
    for (const Field& part : fields_of(top.bytes)) {
      if (part.number == 1) {
        Node node;
        for (const Field& f : fields_of(part.bytes)) {
          if (f.number == 1) node.inputs.emplace_back(f.bytes);
          if (f.number == 2) node.output = f.bytes;
          if (f.number == 4) node.op = f.bytes;
          if (f.number != 5) continue;
          std::string name;
          std::vector<int64_t> values;
          for (const Field& a : fields_of(f.bytes)) {
            if (a.number == 1) name = a.bytes;
            if (a.number == 3 || a.number == 8) values.push_back(static_cast<int64_t>(a.value));
          }
          node.attributes[name] = values;
        }
        net.nodes.push_back(node);
      } else if (part.number == 5) {
        Array array;
        std::string name;
        uint64_t type = 0;
        std::string_view bytes;
        for (const Field& f : fields_of(part.bytes)) {
          if (f.number == 1) array.dims.push_back(static_cast<int64_t>(f.value));
          if (f.number == 2) type = f.value;
          if (f.number == 8) name = f.bytes;
          if (f.number == 9) bytes = f.bytes;
        }
        array.values = type == 1   ? raw<float>(bytes)
                       : type == 2 ? raw<uint8_t>(bytes)
                       : type == 3 ? raw<int8_t>(bytes)
                                   : raw<int32_t>(bytes);
        array.is_signed = type == 3;
        CHECK(net.constants.emplace(name, array).second);
      }
    }
  }
  return net;
}

/// A window over [n,c,h,w]; `channel` >= 0: of one channel (pooling).
template <class F>
Array slide(const Array& x, int64_t outputs, int64_t size, int64_t stride, int64_t pad, const F& at) {
  const int64_t h = x.dims[2], w = x.dims[3], p = (h + 2 * pad - size) / stride + 1,
                q = (w + 2 * pad - size) / stride + 1;
  Array y{{x.dims[0], outputs, p, q}, {}, false};
  for (int64_t n = 0; n < x.dims[0]; ++n)
    for (int64_t k = 0; k < outputs; ++k)
      for (int64_t i = 0; i < p; ++i)
        for (int64_t j = 0; j < q; ++j) y.values.push_back(at(n, k, i * stride - pad, j * stride - pad));
  return y;
}

/// Codes that the packed subnet computed, by quantizer, channels first; how the exported ones differ.
struct Codes {
  std::map<std::string, std::vector<double>> of;
  int64_t compared = 0, different = 0, quantizers = 0;
  double most = 0;
};

/// With `codes`: each quantizer's are compared and then replaced, so that a difference does not spread.
Array compute(const Network& net, const Array& images, Codes* codes = nullptr) {
  std::map<std::string, Array> all = net.constants;
  all["images"] = images;
  for (const Node& node : net.nodes) {
    std::vector<const Array*> in;
    for (const std::string& name : node.inputs) {
      INFO(node.output << " reads " << name);
      REQUIRE(all.count(name) == 1);
      in.push_back(&all.at(name));
    }
    const Array& x = *in[0];
    Array y = x;
    const auto each = [&](auto f) {
      for (double& value : y.values) value = f(value);
    };
    if (node.op == "Relu") {
      each([](double v) { return std::max(v, 0.0); });
    } else if (node.op == "Clip") {
      each([&](double v) { return std::clamp(v, in[1]->values[0], in[2]->values[0]); });
    } else if (node.op == "QuantizeLinear") {
      const bool is_signed = in[2]->is_signed;
      each([&](double v) {
        return std::clamp(std::nearbyint(v / in[1]->values[0]), is_signed ? -128.0 : 0.0,
                          is_signed ? 127.0 : 255.0);
      });
      const std::string quantizer = node.output.substr(0, node.output.rfind(".codes"));
      if (codes && codes->of.count(quantizer)) {
        const std::vector<double>& expected = codes->of.at(quantizer);
        REQUIRE(expected.size() == y.values.size());
        ++codes->quantizers;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ++codes->compared;
          codes->different += y.values[i] != expected[i];
          codes->most = std::max(codes->most, std::abs(y.values[i] - expected[i]));
        }
        y.values = expected;
      }
    } else if (node.op == "DequantizeLinear") {
      const std::size_t inner = y.values.size() / in[1]->values.size();
      if (in.size() > 2) CHECK(*std::max_element(in[2]->values.begin(), in[2]->values.end()) == 0);
      for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] *= in[1]->values[i / inner];
    } else if (node.op == "Add") {
      const Array& b = *in[1];
      const bool by_channel = b.dims == std::vector<int64_t>{x.dims[1], 1, 1};
      if (!by_channel) REQUIRE(b.dims == x.dims);
      const auto pixels = static_cast<std::size_t>(x.dims[2] * x.dims[3]);
      for (std::size_t i = 0; i < y.values.size(); ++i)
        y.values[i] += b.values[by_channel ? i / pixels % b.values.size() : i];
    } else if (node.op == "Conv") {
      const Array& w = *in[1];
      const int64_t c = x.dims[1], h = x.dims[2], width = x.dims[3], r = w.dims[2];
      REQUIRE(w.dims[1] == c);
      CHECK(node.attributes.at("kernel_shape") == std::vector<int64_t>{r, r});
      y = slide(x, w.dims[0], r, node.attributes.at("strides")[0], node.attributes.at("pads")[0],
                [&](int64_t n, int64_t k, int64_t top, int64_t left) {
                  double sum = in.size() > 2 ? in[2]->values[static_cast<std::size_t>(k)] : 0.0;
                  for (int64_t i = 0; i < c; ++i)
                    for (int64_t dy = 0; dy < r; ++dy)
                      for (int64_t dx = 0; dx < r; ++dx) {
                        const int64_t yy = top + dy, xx = left + dx;
                        if (yy < 0 || yy >= h || xx < 0 || xx >= width) continue;
                        sum += x.values[static_cast<std::size_t>(((n * c + i) * h + yy) * width + xx)] *
                               w.values[static_cast<std::size_t>(((k * c + i) * r + dy) * r + dx)];
                      }
                  return sum;
                });
    } else if (node.op == "MaxPool") {
      y = slide(x, x.dims[1], 3, 2, 1, [&](int64_t n, int64_t k, int64_t top, int64_t left) {
        double most = -1e300;
        for (int64_t yy = std::max<int64_t>(top, 0); yy < std::min(top + 3, x.dims[2]); ++yy)
          for (int64_t xx = std::max<int64_t>(left, 0); xx < std::min(left + 3, x.dims[3]); ++xx)
            most = std::max(
                most,
                x.values[static_cast<std::size_t>(((n * x.dims[1] + k) * x.dims[2] + yy) * x.dims[3] + xx)]);
        return most;
      });
    } else if (node.op == "GlobalAveragePool") {
      const auto pixels = static_cast<std::size_t>(x.dims[2] * x.dims[3]);
      y = {{x.dims[0], x.dims[1], 1, 1}, {}, false};
      for (std::size_t i = 0; i < x.values.size(); i += pixels) {
        double sum = 0;
        for (std::size_t j = 0; j < pixels; ++j) sum += x.values[i + j];
        y.values.push_back(sum / static_cast<double>(pixels));
      }
    } else if (node.op == "Flatten") {
      y.dims = {x.dims[0], x.dims[1]};
    } else if (node.op == "Gemm") {
      const Array& w = *in[1];
      y = {{x.dims[0], w.dims[0]}, {}, false};
      for (int64_t n = 0; n < x.dims[0]; ++n)
        for (int64_t k = 0; k < w.dims[0]; ++k) {
          double sum = in[2]->values[static_cast<std::size_t>(k)];
          for (int64_t c = 0; c < w.dims[1]; ++c)
            sum += x.values[static_cast<std::size_t>(n * w.dims[1] + c)] *
                   w.values[static_cast<std::size_t>(k * w.dims[1] + c)];
          y.values.push_back(sum);
        }
    } else {
      FAIL("the interpreter knows no " << node.op);
    }
    all[node.output] = std::move(y);
  }
  return all.at("logits");
}

template <class T>
Array channels_first(const T* from, int64_t n, int64_t pixels, int64_t c) {
  Array to{{n, c}, {}, false};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t p = 0; p < pixels; ++p) to.values.push_back(from[(i * pixels + p) * c + k]);
  return to;
}

Array channels_first(const Tensor& images) {
  Array to = channels_first(images.as<float>(), images.dim(0), images.dim(1) * images.dim(2), images.dim(3));
  to.dims = {images.dim(0), images.dim(3), images.dim(1), images.dim(2)};
  return to;
}

/// Channels of what a node makes: those of the image, or of the last convolution above it.
int64_t channels_of(const Network& net, const std::string& output) {
  if (output == "images") return 3;
  for (const Node& node : net.nodes)
    if (node.output == output)
      return node.op == "Conv" ? net.constants.at(node.inputs[1] + ".codes").dims[0]
                               : channels_of(net, node.inputs[0]);
  return 1;  // a quantizer that the export leaves out
}

std::vector<float> floats(const Array& a) {
  return {a.values.begin(), a.values.end()};
}

}  // namespace

TEST_CASE("onnx: quantized subnets compute the packed ones' codes, but for borders between two") {
  for (const BankVariant& variant :
       {BankVariant{.bits = {8, 4}},
        BankVariant{.arch = "resnet18_w8", .residual = Residual::codes, .per_channel = true, .bits = {6}},
        BankVariant{
            .arch = "resnet50_w8", .residual = Residual::keep_float, .first_last_bits = 0, .bits = {8}}}) {
    const auto net = seen_bank(variant);
    const auto file = packed_bank(*net);
    const packed::Model model(file);
    for (const int bits : variant.bits) {
      const std::size_t i = model.index({0.5, 1.0, 24, bits});
      INFO(variant.arch << " " << id(model.subnets()[i].subnet));
      const Tensor images = normal({2, 24, 24, 3}, 8);
      deploy::Weights weights;
      const deploy::Program program(model, i, 2, weights, 2);  // two threads' observe a batch at once
      const auto arena = memory::allocate({}, program.arena_bytes());
      std::vector<float> logits(10);
      const Network exported = read(onnx::quantized(model, i));
      Codes codes;
      const deploy::Observer observe = [&](const std::string& name, const void* data, int64_t count) {
        const auto of = [&](const auto* typed) {
          const int64_t c = channels_of(exported, name + ".codes");
          codes.of[name] = channels_first(typed, 2, count / 2 / c, c).values;
        };
        if (name == "input")
          of(static_cast<const int8_t*>(data));
        else
          of(static_cast<const uint8_t*>(data));
      };
      program.run(arena.get(), images.as<float>(), logits.data(), &observe);
      const auto got = floats(compute(exported, channels_first(images), &codes));
      CHECK(codes.quantizers > 5);
      CHECK(codes.most <= 1);
      INFO(codes.different << " of " << codes.compared << " codes differ");
      CHECK(static_cast<double>(codes.different) < 1e-4 * static_cast<double>(codes.compared));
      CHECK(relative_l2(got, logits) < 1e-5);
    }
  }
}

TEST_CASE("onnx: full precision computes what the network does") {
  const auto net = seen_bank({.arch = "resnet18_w8", .bits = {8}, .resolutions = {40}});
  Subnet subnet{0.5, 1.0, 40, float_bits};
  // Enough pixels that the last norms' variances are none of two nearly equal values.
  const Tensor images = normal({8, 40, 40, 3}, 8);
  const BatchPart part{Domain::target, 8};
  CHECK_THROWS_WITH(onnx::full_precision(*net, subnet, Domain::target),
                    Catch::Contains("no norm statistics"));
  {
    Tape tape(false);
    net->forward(tape, subnet, images, std::span(&part, 1), NormMode::calibrate);
  }
  Tape tape(false);
  const auto logits =
      net->forward(tape, subnet, images, std::span(&part, 1), NormMode::stored).data.to_vector();
  const auto got =
      floats(compute(read(onnx::full_precision(*net, subnet, Domain::target)), channels_first(images)));
  CHECK(relative_l2(got, logits) < 1e-5);
}
