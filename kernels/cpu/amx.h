#pragma once
// AMX: eight tile registers of 16 rows by 64 bytes, and products of two of them added to a third (Intel 64
// and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18). The instructions as they are
// spelled, so that a file needs no compiler option and a register's number may be a template argument.
//
// A product takes a tile of x (16 rows, 64 codes of each) and one of weights, whose row r holds codes
// 4r to 4r + 3 of 16 columns: 16 x 16 sums of 64 products each, 16,384 multiply-adds in 16 cycles.

#include <cstdint>
#include <cstring>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu::amx {

inline constexpr int64_t rows = 16, row_bytes = 64, tile_bytes = rows * row_bytes;

/// The tile registers, for the calling thread, while it lives: the first six, for sums and pixels, with so
/// many rows, the others whole. They hold zeros at first. A product takes a cycle for each row of pixels.
class Tiles {
 public:
  RTFQ_INLINE explicit Tiles(int64_t pixel_rows = rows) {
    alignas(64) uint8_t layout[64] = {};
    layout[0] = 1;  // palette
    for (int tile = 0; tile < 8; ++tile) {
      const uint16_t bytes = row_bytes;
      std::memcpy(layout + 16 + 2 * tile, &bytes, sizeof bytes);
      layout[48 + tile] = static_cast<uint8_t>(tile < 6 ? pixel_rows : rows);
    }
    asm volatile("ldtilecfg %0" : : "m"(layout));
  }
  RTFQ_INLINE ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

template <int tile>
RTFQ_INLINE void zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(tile));
}

/// Rows of 64 bytes, `stride` bytes apart.
template <int tile>
RTFQ_INLINE void load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
RTFQ_INLINE void store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
}

/// sums += x * weights, weights s8. `signed_x`: x is s8, else u8.
template <int sums, int x, int weights, bool signed_x>
RTFQ_INLINE void multiply() {
  if constexpr (signed_x)
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(x), "i"(weights));
  else
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(x), "i"(weights));
}

}  // namespace rtfq::kernels::cpu::amx
