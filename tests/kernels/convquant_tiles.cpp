// The tiles of the fused convolution: every output once, with exactly the taps that are not padding; shares
// of them that leave nothing out; and the walk through their pixels.
#include "kernels/cpu/convquant_tiles.h"

#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cpu/convquant_plan.h"

using rtfq::kernels::cpu::ConvPixels;
using rtfq::kernels::cpu::ConvPlan;
using rtfq::kernels::cpu::ConvTiles;
using rtfq::kernels::cpu::ConvWalk;
using rtfq::kernels::cpu::cut_axis;
using rtfq::kernels::cpu::TapSpan;
using rtfq::kernels::cpu::whole_axis;

namespace {

/// As those of convquant_worker.h, as far as a plan asks.
struct Kernel {
  static constexpr int64_t group_vectors = 4;
  static constexpr bool vectors_apart = false;
};

}  // namespace

TEST_CASE("convquant tiles: an axis is cut where the padding begins") {
  for (int64_t input = 1; input <= 9; ++input)
    for (int64_t filter = 1; filter <= 7; ++filter)
      for (int64_t stride = 1; stride <= 3; ++stride)
        for (int64_t pad = 0; pad <= ConvTiles::most_pad; ++pad) {
          if (input + 2 * pad < filter) continue;
          const int64_t output = (input + 2 * pad - filter) / stride + 1;
          INFO(input << " to " << output << ", filter " << filter << ", stride " << stride << ", pad "
                     << pad);
          TapSpan spans[ConvTiles::most_spans + 1];
          const int count = cut_axis(input, filter, stride, pad, output, spans);
          REQUIRE(count <= ConvTiles::most_spans);
          int64_t next = 0;
          for (int i = 0; i < count; ++i) {
            CHECK(spans[i].begin == next);
            REQUIRE(spans[i].outputs() > 0);
            next = spans[i].end;
            for (int64_t o = spans[i].begin; o < spans[i].end; ++o)
              for (int64_t tap = 0; tap < filter; ++tap) {
                const int64_t at = o * stride - pad + tap;
                const bool within = tap >= spans[i].first && tap < spans[i].last;
                CHECK(within == (at >= 0 && at < input));
              }
          }
          CHECK(next == output);
        }
}

TEST_CASE("convquant tiles: shares of their cost leave out none and take none twice") {
  for (const int64_t images : {1, 2, 5})
    for (const int64_t size : {1, 2, 7, 14}) {
      TapSpan spans[ConvTiles::most_spans];
      const int count = cut_axis(size, 3, 1, 1, size, spans);
      const ConvTiles tiles(images, spans, count, spans, count, 16, 8);
      int64_t pixels = 0, cost = 0;
      for (int64_t t = 0; t < tiles.tiles(); ++t) {
        const ConvTiles::Region& region = tiles.region_of(t);
        const int64_t i = t - region.tiles_before,
                      of_tile = region.first_pixel(i + 1) - region.first_pixel(i);
        REQUIRE(of_tile >= 1);
        REQUIRE(of_tile <= ConvTiles::tile_pixels);
        CHECK(tiles.cost_before(t) == cost);
        CHECK(tiles.tile_at(cost) == t);
        CHECK(tiles.tile_at(cost + 1) == t + 1);
        pixels += of_tile, cost += of_tile * region.cost;
      }
      CHECK(pixels == images * size * size);
      CHECK(cost == tiles.cost());
      CHECK(tiles.cost_before(tiles.tiles()) == cost);
      CHECK(tiles.tile_at(cost) == tiles.tiles());
      for (const int64_t threads : {2, 3, 64}) {
        int64_t next = 0;
        for (int64_t i = 0; i < threads; ++i) {
          CHECK(tiles.tile_at(cost * i / threads) == next);
          next = tiles.tile_at(cost * (i + 1) / threads);
        }
        CHECK(next == tiles.tiles());
      }
    }
  TapSpan all;
  CHECK(whole_axis(5, 7, &all) == 1);
  CHECK((all.outputs() == 5 && all.taps() == 7));
}

TEST_CASE("convquant tiles: walking from any of them on gives the pixels of a region in order") {
  for (const int64_t images : {1, 3})
    for (const int64_t size : {1, 2, 5, 7, 13, 24})
      for (const int64_t stride : {1, 2}) {
        const auto s = rtfq::kernels::with_types(
            rtfq::kernels::make_conv2d_shape(images, size, size, 8, 16, 3, stride, 1, 8), RTFQ_U8, RTFQ_S8,
            RTFQ_F32);
        const ConvPlan<Kernel> plan(s);
        TapSpan rows[ConvTiles::most_spans], columns[ConvTiles::most_spans];
        const int row_spans = cut_axis(s.h, s.r, s.stride, s.pad, plan.p, rows),
                  column_spans = cut_axis(s.w, s.s, s.stride, s.pad, plan.q, columns);
        const ConvTiles tiles(images, rows, row_spans, columns, column_spans, plan.steps, 8);
        const std::vector<uint8_t> x(static_cast<std::size_t>(images * plan.image_bytes));
        for (int64_t t = 0; t < tiles.tiles(); ++t) {
          const ConvTiles::Region& region = tiles.region_of(t);
          const int64_t first = t - region.tiles_before, wide = region.columns.outputs(),
                        high = region.rows.outputs();
          ConvWalk<Kernel> walk(plan, region, x.data(), first);
          int64_t pixel = region.first_pixel(first);
          for (int64_t tile = first; tile < region.tiles; ++tile) {
            ConvPixels pixels;
            walk.next(pixels);
            REQUIRE(pixels.count == region.first_pixel(tile + 1) - region.first_pixel(tile));
            for (int64_t i = 0; i < pixels.count; ++i, ++pixel) {
              const int64_t q = region.columns.begin + pixel % wide,
                            p = region.rows.begin + pixel / wide % high, image = pixel / (wide * high);
              CHECK(pixels.outputs[i] == (image * plan.p + p) * plan.q + q);
              CHECK(pixels.codes[i] - x.data() == image * plan.image_bytes +
                                                      (p * stride - 1 + region.rows.first) * plan.line +
                                                      (q * stride - 1 + region.columns.first) * s.c);
            }
          }
          CHECK(pixel == region.pixels);
        }
      }
}
