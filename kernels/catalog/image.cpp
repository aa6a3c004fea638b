// Normalization over all 256 byte values, and resizing checked against dense weight matrices that come
// straight from the definition of the triangle filter.
#include "kernels/image.h"

#include <cmath>

#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

struct Case {
  const char* name;
  int64_t n, h, w, c, p, q;
  bool antialias;
  /// Zero where all weights and sums are exact in f32. Otherwise each of a few dozen weights is off by 2^-25
  /// at most and so is each of as many sums, relative to values below 6.
  double tolerance;
  ResizeShape shape() const { return make_resize_shape(n, h, w, c, p, q, antialias); }
};

std::size_t count_x(const ResizeShape& s) {
  return static_cast<std::size_t>(s.n * s.h * s.w * s.c);
}

/// Row i: the weight of every source pixel in output i. The filter is a triangle of half-width max(1, in/out)
/// source pixels (1 without antialias) around the output pixel's centre, cut at the borders and normalized.
std::vector<double> filter_matrix(int64_t in, int64_t out, bool antialias) {
  std::vector<double> matrix(static_cast<std::size_t>(in * out));
  const double half_width = antialias && in > out ? static_cast<double>(in) / static_cast<double>(out) : 1.0;
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out);
    double* row = matrix.data() + i * in;
    double total = 0;
    for (int64_t j = 0; j < in; ++j) {
      const double distance = std::abs(static_cast<double>(j) + 0.5 - center) / half_width;
      row[j] = distance < 1 ? 1 - distance : 0;
      total += row[j];
    }
    for (int64_t j = 0; j < in; ++j) row[j] /= total;
  }
  return matrix;
}

std::vector<double> reference_resize(const ResizeShape& s, const float* x) {
  const auto rows = filter_matrix(s.h, s.p, s.antialias), columns = filter_matrix(s.w, s.q, s.antialias);
  std::vector<double> y(static_cast<std::size_t>(s.n * s.p * s.q * s.c), 0.0);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p) {
      std::vector<double> line(static_cast<std::size_t>(s.w * s.c), 0.0);
      for (int64_t h = 0; h < s.h; ++h)
        if (const double weight = rows[static_cast<std::size_t>(p * s.h + h)]; weight != 0)
          for (int64_t i = 0; i < s.w * s.c; ++i)
            line[static_cast<std::size_t>(i)] += weight * x[(n * s.h + h) * s.w * s.c + i];
      for (int64_t q = 0; q < s.q; ++q)
        for (int64_t w = 0; w < s.w; ++w)
          if (const double weight = columns[static_cast<std::size_t>(q * s.w + w)]; weight != 0)
            for (int64_t c = 0; c < s.c; ++c)
              y[static_cast<std::size_t>(((n * s.p + p) * s.q + q) * s.c + c)] +=
                  weight * line[static_cast<std::size_t>(w * s.c + c)];
    }
  return y;
}

std::unique_ptr<Problem<Resize>> resize(const Case& the_case, const CustomRequest* request = nullptr) {
  auto problem = std::make_unique<Problem<Resize>>();
  const auto s = problem->shape = the_case.shape();
  float* x = problem->add<float>(count_x(s));
  if (request)
    custom_parts::fill(*request, x, count_x(s), 51);
  else if (the_case.tolerance == 0)
    fill_exact(x, count_x(s), 51);
  else
    fill_normal(x, count_x(s), 51);
  auto expected = reference_resize(s, x);
  float* y = problem->add<float>(static_cast<std::size_t>(s.n * s.p * s.q * s.c));
  problem->expected.push_back({.name = "y",
                               .buffer = problem->last(),
                               .values = std::move(expected),
                               .absolute = the_case.tolerance});
  problem->args = {x, y, nullptr};
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<Normalize>> normalize(int64_t n, int64_t h, int64_t w, int64_t c) {
  auto problem = std::make_unique<Problem<Normalize>>();
  const auto s = problem->shape = make_resize_shape(n, h, w, c, 1, 1);
  auto* x = problem->add<uint8_t>(count_x(s));
  for (std::size_t i = 0; i < count_x(s); ++i)
    x[i] = i < 256 * static_cast<std::size_t>(c) ? static_cast<uint8_t>(i / static_cast<std::size_t>(c))
                                                 : static_cast<uint8_t>(philox4x32(52, i, 0)[0]);
  float* mean = problem->add<float>(static_cast<std::size_t>(c));
  float* deviation = problem->add<float>(static_cast<std::size_t>(c));
  const float image_net_mean[] = {0.485f, 0.456f, 0.406f}, image_net_deviation[] = {0.229f, 0.224f, 0.225f};
  for (int64_t i = 0; i < c; ++i) {
    mean[i] = image_net_mean[i % 3] + 0.01f * static_cast<float>(i / 3);
    deviation[i] = image_net_deviation[i % 3] + 0.02f * static_cast<float>(i / 3);
  }
  std::vector<double> expected;
  for (std::size_t i = 0; i < count_x(s); ++i) {
    const std::size_t channel = i % static_cast<std::size_t>(c);
    const auto scale = static_cast<float>(1 / (255 * static_cast<double>(deviation[channel])));
    const auto shift =
        static_cast<float>(-(static_cast<double>(mean[channel]) / static_cast<double>(deviation[channel])));
    expected.push_back(std::fma(static_cast<float>(x[i]), scale, shift));  // the header defines this rounding
  }
  float* y = problem->add<float>(count_x(s));
  problem->expected.push_back({.name = "y", .buffer = problem->last(), .values = std::move(expected)});
  problem->args = {x, mean, deviation, y};
  return problem;
}

// n, h, w, c, p, q, antialias, tolerance
const Case small_cases[] = {
    {"same_5x7_3", 2, 5, 7, 3, 5, 7, true, 0},
    {"double_4x6_3", 2, 4, 6, 3, 8, 12, true, 0},
    {"fourfold_3x2_1", 1, 3, 2, 1, 12, 8, true, 0},
    {"half_8x12_3_plain", 2, 8, 12, 3, 4, 6, false, 0},
    {"from_one_pixel_3", 1, 1, 1, 3, 5, 4, true, 0},
    {"rows_only_4x9_3", 1, 4, 9, 3, 8, 9, true, 0},
    {"columns_only_9x4_2", 1, 9, 4, 2, 9, 8, true, 0},
    {"half_8x12_3", 2, 8, 12, 3, 4, 6, true, 4e-6},
    {"to_one_pixel_7x9_3", 2, 7, 9, 3, 1, 1, true, 4e-6},
    {"to_one_pixel_7x9_3_plain", 2, 7, 9, 3, 1, 1, false, 4e-6},
    {"32_to_28_1", 2, 32, 32, 1, 28, 28, true, 4e-6},
    {"32_to_20_3", 2, 32, 32, 3, 20, 20, true, 4e-6},
    {"32_to_24_3_plain", 1, 32, 32, 3, 24, 24, false, 4e-6},
    {"28_to_32_1", 2, 28, 28, 1, 32, 32, true, 4e-6},
    {"37x61_to_16x23_3", 1, 37, 61, 3, 16, 23, true, 4e-6},
    {"37x61_to_50x23_3", 1, 37, 61, 3, 50, 23, true, 4e-6},
    {"5x11_to_7x3_19", 1, 5, 11, 19, 7, 3, true, 4e-6},
    {"long_row_3x2000_to_2x900_3", 1, 3, 2000, 3, 2, 900, true, 4e-6},
    {"long_row_2x2500_to_3x2_5", 1, 2, 2500, 5, 3, 2, true, 4e-6},  // too wide a filter for the fast one
    {"long_filter_2x1200_to_2x2_3", 1, 2, 1200, 3, 2, 2, true, 4e-6},
};

}  // namespace

std::vector<Entry> image_entries() {
  std::vector<Entry> list;
  list.push_back(entry<Normalize>("all_bytes_3", [] { return normalize(1, 16, 16, 3); }));
  list.push_back(entry<Normalize>("all_bytes_1", [] { return normalize(1, 16, 16, 1); }));
  list.push_back(entry<Normalize>("odd_7x5_3", [] { return normalize(3, 7, 5, 3); }));
  list.push_back(entry<Normalize>("one_pixel_4", [] { return normalize(1, 1, 1, 4); }));
  list.push_back(entry<Normalize>("channels_64", [] { return normalize(1, 9, 3, 64); }));
  list.push_back(entry<Normalize>("channels_65", [] { return normalize(1, 3, 3, 65); }));
  list.push_back(entry<Normalize>(
      "imagenet_64x224x224_3", [] { return normalize(64, 224, 224, 3); }, true));
  for (const auto& c : small_cases) list.push_back(entry<Resize>(c.name, [=] { return resize(c); }));
  const Case large_cases[] = {
      {"imagenet_224_to_128_3", 64, 224, 224, 3, 128, 128, true, 4e-6},
      {"imagenet_256_to_224_3", 64, 256, 256, 3, 224, 224, true, 4e-6},
      {"digits_32_to_24_1", 256, 32, 32, 1, 24, 24, true, 4e-6},
  };
  for (const auto& c : large_cases)
    list.push_back(entry<Resize>(
        c.name, [=] { return resize(c); }, true));
  return list;
}

std::unique_ptr<Instance> custom_parts::image(const CustomRequest& request) {
  Dims dims(request);
  const int64_t n = dims.need("n"), h = dims.need("h"), w = dims.need("w"), c = dims.get("c", 3);
  const bool resizes = request.op == "resize";
  const int64_t p = resizes ? dims.need("p") : 1, q = resizes ? dims.need("q") : 1;
  const bool antialias = !resizes || dims.get("antialias", 1) != 0;
  dims.finish();
  if (request.type != RTFQ_F32) refuse(request, "results are f32");
  if (!resizes && (request.fill == Fill::zeros || request.fill == Fill::given))
    refuse(request, "its pixels are drawn, --data has no others");
  if (!resizes) return instance_of(normalize(n, h, w, c));
  return instance_of(resize({"custom", n, h, w, c, p, q, antialias, 4e-6}, &request));
}

}  // namespace rtfq::kernels::catalog
