// The fused convolution in AMX, on processors that have it and, emulated, on those that do not.
#include <catch2/catch.hpp>

#include "kernels/catalog/catalog.h"
#include "kernels/convquant.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/features.h"
#include "kernels/runtime/device.h"
#include "tests/support/skip.h"
#include "tests/support/with_amx.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

TEST_CASE("amx: products of bytes with and without a sign, added to what there was") {
  namespace amx = cpu::amx;
  const AmxEmulator emulator;
  INFO("by the processor: " << cpu::has_amx());  // which asks the system for the tiles
  alignas(64) static uint8_t x[16][96], weights[16][64];
  alignas(64) static int32_t sums[16][20];
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 64; ++j)
      x[i][j] = static_cast<uint8_t>(i * 37 + j * 11), weights[i][j] = static_cast<uint8_t>(i * 53 + j * 7);
  for (const bool is_signed : {false, true}) {
    for (auto& row : sums)
      for (int32_t& sum : row) sum = -1;
    {
      const amx::Tiles tiles;
      amx::zero<2>();
      amx::load<5>(x, sizeof x[0]);
      amx::load<7>(weights, sizeof weights[0]);
      for (int i = 0; i < 3; ++i)
        is_signed ? amx::multiply<2, 5, 7, true>() : amx::multiply<2, 5, 7, false>();
      amx::store<2>(sums, sizeof sums[0]);
    }
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 20; ++n) {
        int32_t expected = 0;
        for (int k = 0; k < 64; ++k)
          expected += (is_signed ? static_cast<int8_t>(x[m][k]) : x[m][k]) *
                      static_cast<int8_t>(weights[k / 4][4 * (n % 16) + k % 4]);
        CHECK(sums[m][n] == (n < 16 ? 3 * expected : -1));
      }
  }
}

TEST_CASE("amx: every case of the fused convolution, large ones too, by one thread and by two") {
  if (!WithAmx::possible()) return skip(WithAmx::impossible);
  const WithAmx amx;
  const int before = runtime::threads();
  int ran = 0;
  for (const int threads : {1, 2}) {
    runtime::set_threads(threads);
    for (const auto& entry : catalog::entries()) {
      if (entry.op != ConvQuantForward::name) continue;
      const auto verdict = entry.make()->verify(Backend::cpu, "amx");
      INFO(entry.case_name << ": " << verdict.message);
      CHECK(verdict.ok);
      ++ran;
    }
  }
  runtime::set_threads(before);
  CHECK(ran > 100);
}
