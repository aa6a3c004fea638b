// The executor's warpgroup products against plain sums, and that a fault in bringing operands to them shows.
#include <catch2/catch.hpp>

#include "kernels/simt/executor.h"
#include "tests/simt/wgmma_tile.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Contains;
using simt::Product;

namespace {

/// Operands of exactly the needed size on 16-byte boundaries, so that sanitizers see the ends.
std::vector<uint4> words(const std::vector<unsigned char>& bytes) {
  std::vector<uint4> result(bytes.size() / 16);
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

template <Product kind, int n, TileFault fault = TileFault::none>
simt::Report rows(int steps, int schedules = 40) {
  const TileProblem<kind> problem(n, steps * 128 / simt::ProductTypes<kind>::bytes, false);
  const auto a = words(problem.a), b = words(problem.b);
  return simt::check(
      [&] {
        std::vector<typename TileProblem<kind>::Sum> d(problem.d.size());
        simt::launch(product_of_rows<kind, n, fault>, dim3(1), dim3(128), tile_shared_bytes(n, 2), nullptr,
                     reinterpret_cast<const unsigned char*>(a.data()),
                     reinterpret_cast<const unsigned char*>(b.data()), d.data(), steps);
        if (d != problem.d) throw std::runtime_error("wrong product");
      },
      schedules);
}

template <int n>
simt::Report columns(int depth) {
  const TileProblem<Product::bf16> problem(n, depth, true);
  const auto a = words(problem.a), b = words(problem.b);
  return simt::check(
      [&] {
        std::vector<float> d(problem.d.size());
        simt::launch(product_of_columns<n>, dim3(1), dim3(128), tile_shared_bytes(n, 1), nullptr,
                     reinterpret_cast<const unsigned char*>(a.data()),
                     reinterpret_cast<const unsigned char*>(b.data()), d.data(), depth);
        if (d != problem.d) throw std::runtime_error("wrong product");
      },
      10);
}

std::string ok(const simt::Report& report) {
  return report.message;
}

template <TileFault fault>
std::string fault_of() {
  return rows<Product::bf16, 64, fault>(5).message;
}

}  // namespace

TEST_CASE("wgmma on simt: products of rows are right under every schedule") {
  for (const int steps : {1, 2, 5}) {
    INFO(steps << " steps");
    CHECK(ok(rows<Product::bf16, 64>(steps)) == "");
    CHECK(ok(rows<Product::u8, 96>(steps)) == "");
    CHECK(ok(rows<Product::s8, 128>(steps)) == "");
  }
  CHECK(ok(rows<Product::bf16, 192>(3, 5)) == "");
  CHECK(ok(rows<Product::u8, 256>(3, 5)) == "");
}

TEST_CASE("wgmma on simt: products of columns are right") {
  for (const int depth : {16, 48, 64}) {
    INFO("depth " << depth);
    CHECK(ok(columns<64>(depth)) == "");
    CHECK(ok(columns<128>(depth)) == "");
  }
}

TEST_CASE("wgmma on simt: missing waits, fences and barriers show") {
  CHECK(fault_of<TileFault::no_copy_wait>() == "wrong product");
  CHECK(fault_of<TileFault::no_proxy_fence>() == "wrong product");
  CHECK(fault_of<TileFault::no_barrier>() == "wrong product");
  CHECK(fault_of<TileFault::no_bulk_wait>() == "wrong product");
  CHECK(fault_of<TileFault::no_wgmma_wait>() == "wrong product");
  CHECK_THAT(fault_of<TileFault::no_wgmma_fence>(), Contains("no wgmma.fence since"));
  CHECK_THAT(fault_of<TileFault::no_init_fence>(), Contains("nothing fences its mbarrier's initialization"));
  CHECK_THAT(fault_of<TileFault::no_init_barrier>(), Contains("mbarrier: used before it is initialized"));
  CHECK(fault_of<TileFault::other_swizzle>() == "wrong product");
  CHECK_THAT(fault_of<TileFault::too_many_bytes>(), Contains("deadlock") && Contains("mbarrier.try_wait"));
  CHECK(fault_of<TileFault::wrong_stride>() != "");
  CHECK_THAT(fault_of<TileFault::overwritten_operand>(), Contains("which an ordinary store has changed"));
}
