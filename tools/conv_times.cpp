// rtfq-conv: times of elastic convolutions on a GPU over the distinct shapes of a bank of subnets, for
// tools/gpu_check, which joins them with another library's. Operands are random and stay on the device;
// whether kernels are right is rtfq-cases' business, here implementations of one problem only have to agree.
// Prints one JSON object a measurement.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <tuple>

#include "kernels/bf16.h"
#include "kernels/conv2d.h"
#include "kernels/runtime/gpu_clock.h"
#include "models/resnet.h"

namespace {

using namespace rtfq;
using namespace rtfq::kernels;
using json = nlohmann::ordered_json;

struct Arguments {
  std::string archs = "resnet50,resnet18", device = "cuda", bank = "rtfq48";
  int batch = 64;
  double seconds = 120;
  bool list = false, all = false;
};

struct Shape {
  int64_t h, c, k, filter, stride, c_parent, k_parent;
  auto operator<=>(const Shape&) const = default;
};

/// Distinct convolutions of all subnets with the place where each comes first, in an order that is always the
/// same and favours none: whoever runs out of time has seen a fair part.
std::vector<std::pair<Shape, std::string>> shapes_of(const std::string& arch, const std::string& bank) {
  std::vector<std::pair<Shape, std::string>> shapes;
  std::set<Shape> seen;
  const ResNetSpec spec = resnet_spec(arch);
  for (const Subnet& subnet : bank_preset(bank).subnets()) {
    Subnet full = subnet;
    full.width = 1;
    const auto own = plan(spec, subnet, 16, 3), parents = plan(spec, full, 16, 3);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const ConvPlan& conv = own[i];
      const Shape shape{conv.h, conv.c, conv.k, conv.filter, conv.stride, parents[i].c, parents[i].k};
      if (!seen.insert(shape).second) continue;
      char where[96];
      std::snprintf(where, sizeof where, "%s@%d/w%g %s", arch.c_str(), subnet.resolution, subnet.width,
                    conv.name.c_str());
      shapes.emplace_back(shape, where);
    }
  }
  std::mt19937 random(11);
  for (std::size_t i = shapes.size(); i > 1; --i) std::swap(shapes[i - 1], shapes[random() % i]);
  return shapes;
}

/// Whether a name fixes what others choose by the shape: "mma_bf16_128x64".
bool names_a_tile(const std::string& name) {
  const std::size_t last = name.rfind('_');
  return last != name.npos && name.find_first_not_of("0123456789x", last + 1) == name.npos;
}

/// Device memory, filled with the same random numbers over and over.
class Memory {
 public:
  Memory(Device device, std::size_t bytes, const std::vector<std::byte>& pattern) : device_(device) {
    data_ = runtime::allocate(device, bytes);
    auto* to = static_cast<std::byte*>(data_);
    std::size_t filled = std::min(pattern.size(), bytes);
    runtime::copy(to, device, pattern.data(), {}, filled, {device});
    for (; filled < bytes; filled += std::min(filled, bytes - filled))
      runtime::copy(to + filled, device, to, device, std::min(filled, bytes - filled), {device});
  }
  ~Memory() { runtime::release(device_, data_); }
  Memory(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  Device device_;
  void* data_;
};

std::vector<std::byte> pattern(rtfq_dtype type) {
  constexpr std::size_t count = (1 << 20) - 4 * 37;
  std::vector<std::byte> bytes(count * static_cast<std::size_t>(element_bytes(type)));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = normal(random);
    if (type == RTFQ_F32)
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    else if (type == RTFQ_BF16)
      reinterpret_cast<bf16*>(bytes.data())[i] = to_bf16(value);
    else if (type == RTFQ_U8)
      bytes[i] = static_cast<std::byte>(std::clamp(std::lround(60 * value), 0L, 255L));
    else
      bytes[i] =
          static_cast<std::byte>(static_cast<int8_t>(std::clamp(std::lround(30 * value), -128L, 127L)));
  }
  return bytes;
}

const std::vector<std::byte>& pattern_of(rtfq_dtype type) {
  static std::map<rtfq_dtype, std::vector<std::byte>> made;
  auto& one = made[type];
  if (one.empty()) one = pattern(type);
  return one;
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

class Bench {
 public:
  explicit Bench(const Arguments& a) : a_(a), device_(parse_device(a.device)), clock_(device_) {}

  void run(const Shape& z, const std::string& where) {
    for (const auto& [x, w, y] :
         {std::tuple{RTFQ_BF16, RTFQ_F32, RTFQ_BF16}, std::tuple{RTFQ_U8, RTFQ_S8, RTFQ_BF16}}) {
      if (x == RTFQ_U8 && z.c == 3) continue;  // the image has signed codes and is no case of its own
      auto s = make_conv2d_shape(a_.batch, z.h, z.h, z.c, z.k, z.filter, z.stride, z.filter / 2, z.c_parent);
      s = with_types(s, x, w, y);
      forward(s, z, where);
      if (x == RTFQ_U8) {
        wgrad(with_types(s, x, RTFQ_F32, y), z, where);
      } else {
        if (z.c != 3) dgrad(s, z, where);
        wgrad(s, z, where);
      }
    }
  }

 private:
  static std::size_t bytes(int64_t count, rtfq_dtype type) {
    return static_cast<std::size_t>(count * element_bytes(type));
  }
  static int64_t count_x(const Conv2dShape& s) { return s.n * s.h * s.w * s.c; }
  static int64_t count_y(const Conv2dShape& s) { return s.n * output_height(s) * output_width(s) * s.k; }
  static int64_t count_w(const Conv2dShape& s) { return s.k * s.r * s.s * s.c_parent; }

  void forward(const Conv2dShape& s, const Shape& z, const std::string& where) {
    const Memory x(device_, bytes(count_x(s), s.x_type), pattern_of(s.x_type)),
        w(device_, bytes(count_w(s), s.w_type), pattern_of(s.w_type)),
        y(device_, bytes(count_y(s), s.y_type), pattern_of(s.y_type)),
        scale(device_, bytes(s.k, RTFQ_F32), pattern_of(RTFQ_F32));
    measure<Conv2dForward>(s, z, where, w.data(), y.data(), count_y(s), s.y_type,
                           [&](void* packed, void* workspace) {
                             return Conv2dForwardArgs{x.data(), packed, y.data(), workspace,
                                                      static_cast<const float*>(scale.data())};
                           });
  }
  void dgrad(const Conv2dShape& s, const Shape& z, const std::string& where) {
    const Memory g(device_, bytes(count_y(s), s.y_type), pattern_of(s.y_type)),
        w(device_, bytes(count_w(s), s.w_type), pattern_of(s.w_type)),
        dx(device_, bytes(count_x(s), s.x_type), pattern_of(s.x_type));
    measure<Conv2dDgrad>(s, z, where, w.data(), dx.data(), count_x(s), s.x_type,
                         [&](void* packed, void* workspace) {
                           return Conv2dDgradArgs{g.data(), packed, dx.data(), workspace};
                         });
  }
  void wgrad(const Conv2dShape& s, const Shape& z, const std::string& where) {
    const Memory x(device_, bytes(count_x(s), s.x_type), pattern_of(s.x_type)),
        g(device_, bytes(count_y(s), s.y_type), pattern_of(s.y_type)),
        dw(device_, bytes(count_w(s), RTFQ_F32), pattern_of(RTFQ_F32)),
        scale(device_, 4, pattern_of(RTFQ_F32));
    measure<Conv2dWgrad>(s, z, where, nullptr, dw.data(), count_w(s), RTFQ_F32, [&](void*, void* workspace) {
      return Conv2dWgradArgs{
          x.data(), g.data(),  static_cast<float*>(dw.data()),
          false,    workspace, s.x_type == RTFQ_BF16 ? nullptr : static_cast<const float*>(scale.data())};
    });
  }

  template <class Op, class Bind>
  void measure(const Conv2dShape& s, const Shape& z, const std::string& where, void* weights, void* result,
               int64_t count, rtfq_dtype type, Bind bind) {
    std::vector<float> first;
    for (const auto& implementation : Op::implementations(device_.backend)) {
      if (implementation.unsupported(s)) continue;
      if (!a_.all && (names_a_tile(implementation.name) || std::strcmp(implementation.name, "naive") == 0))
        continue;
      json row{{"op", Op::name},
               {"implementation", implementation.name},
               {"where", where},
               {"x", type_name(s.x_type)},
               {"n", s.n},
               {"h", s.h},
               {"c", s.c},
               {"k", s.k},
               {"filter", s.r},
               {"stride", s.stride},
               {"c_parent", s.c_parent},
               {"k_parent", z.k_parent},
               {"gmacs", static_cast<double>(macs(s)) * 1e-9}};
      try {
        const Memory workspace(device_, implementation.workspace(s), pattern_of(RTFQ_F32)),
            packed(device_, weights ? implementation.packed(s) : 0, pattern_of(RTFQ_F32));
        const bool packs = weights && implementation.packed(s) > 0;
        const auto arguments = bind(packs ? packed.data() : weights, workspace.data());
        const runtime::GpuTiming timing{true, 9, 0.02, 0.02};
        if (packs) {
          const auto pack = clock_.time(
              [&](Stream stream) { implementation.pack(s, weights, packed.data(), stream); }, timing);
          row["pack_s"] = median(pack.device);
        }
        const auto samples =
            clock_.time([&](Stream stream) { implementation.launch(s, arguments, stream); }, timing);
        row["seconds"] = median(samples.device);
        row["samples"] = samples.device.size();
        row["sm_mhz"] = samples.state.sm_mhz;
        const auto values = sample(result, count, type);
        if (first.empty())
          first = values;
        else
          row["difference"] = difference(values, first);
      } catch (const std::exception& error) {
        row["error"] = error.what();
      }
      std::printf("%s\n", row.dump().c_str());
      std::fflush(stdout);
    }
  }

  /// The last elements of a result, which lie where tiles are cut off.
  std::vector<float> sample(void* result, int64_t count, rtfq_dtype type) const {
    const auto wanted = static_cast<std::size_t>(std::min<int64_t>(count, 4096));
    std::vector<std::byte> raw(wanted * static_cast<std::size_t>(element_bytes(type)));
    const auto skipped =
        (static_cast<std::size_t>(count) - wanted) * static_cast<std::size_t>(element_bytes(type));
    runtime::copy(raw.data(), {}, static_cast<std::byte*>(result) + skipped, device_, raw.size(), {device_});
    std::vector<float> values(wanted);
    for (std::size_t i = 0; i < wanted; ++i)
      if (type == RTFQ_F32)
        std::memcpy(&values[i], raw.data() + 4 * i, 4);
      else
        values[i] = to_float(reinterpret_cast<const bf16*>(raw.data())[i]);
    return values;
  }

  /// |a - b| / |b|, what lies outside a slice included (it must be left alone by both).
  static double difference(const std::vector<float>& a, const std::vector<float>& b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
      norm += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(error / std::max(norm, 1e-30));
  }

  Arguments a_;
  Device device_;
  runtime::GpuClock clock_;
};

int run(const Arguments& a) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<Bench> bench;
  if (!a.list) bench = std::make_unique<Bench>(a);
  for (std::size_t at = 0; at < a.archs.size();) {
    const std::size_t comma = std::min(a.archs.find(',', at), a.archs.size());
    for (const auto& [z, where] : shapes_of(a.archs.substr(at, comma - at), a.bank)) {
      if (a.list) {
        const json row{{"where", where},
                       {"n", a.batch},
                       {"h", z.h},
                       {"c", z.c},
                       {"k", z.k},
                       {"filter", z.filter},
                       {"stride", z.stride},
                       {"c_parent", z.c_parent},
                       {"k_parent", z.k_parent}};
        std::printf("%s\n", row.dump().c_str());
        continue;
      }
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > a.seconds)
        return 0;
      bench->run(z, where);
    }
    at = comma + 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Times of elastic convolutions on a GPU over the distinct shapes of a bank");
  app.add_option("--arch", a.archs, "networks, separated by commas")->capture_default_str();
  app.add_option("--bank", a.bank, "preset of subnets")->capture_default_str();
  app.add_option("--batch", a.batch, "images")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--device", a.device, "cuda or cuda:N")->capture_default_str();
  app.add_option("--seconds", a.seconds, "stop after so many")->capture_default_str();
  app.add_flag("--list", a.list, "print the shapes; touches no device");
  app.add_flag("--all", a.all, "time the naive kernels and those of one tile too");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(a);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-conv: %s\n", error.what());
    return 1;
  }
}
