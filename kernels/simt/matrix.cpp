// Matrix instructions of a warp: the fragments' layouts of the PTX manual (ldmatrix, mma.m16n8k8, m16n8k16
// and m16n8k32), worked out on plain arrays. Below, g is a lane's group, lane / 4, and t its place in it.
#include "kernels/simt/matrix.h"

#include <bit>

#include "kernels/simt/runner.h"

namespace rtfq::simt::device {
namespace {

/// A lane's operands of one product.
struct Fragments {
  uint32_t a[4], b[2];
};

uint32_t byte_of(uint32_t word, uint32_t i) {
  return word >> 8 * i & 0xff;
}
uint32_t half_of(uint32_t word, uint32_t i) {
  return word >> 16 * i & 0xffff;
}

template <bool transposed>
void distribute(Offer* const* lanes) {
  const auto row = [&](uint32_t matrix, uint32_t r) {
    return static_cast<const uint32_t*>(lanes[8 * matrix + r]->value);
  };
  for (uint32_t lane = 0; lane < warp_lanes; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4;
    auto* to = static_cast<uint32_t*>(lanes[lane]->result);
    for (uint32_t matrix = 0; matrix < 4; ++matrix)
      to[matrix] = transposed ? half_of(row(matrix, 2 * t)[g / 2], g % 2) |
                                    half_of(row(matrix, 2 * t + 1)[g / 2], g % 2) << 16
                              : row(matrix, g)[t];
  }
}

/// d += a b, `depth` terms a sum; element i of an operand's word by `number`. A word holds 4 bytes, 2 halves
/// or one f32 of neighbouring terms; registers a[0..3] are rows g and g + 8 of the lower half of the terms,
/// then of the upper half.
template <class Number, class Sum, class Value, int depth, Number (*a_number)(uint32_t, uint32_t),
          Number (*b_number)(uint32_t, uint32_t)>
void multiply(Offer* const* lanes) {
  constexpr uint32_t per_word = depth / 8;
  Number a[16][depth], b[8][depth];
  for (uint32_t lane = 0; lane < warp_lanes; ++lane) {
    const auto& from = *static_cast<const Fragments*>(lanes[lane]->value);
    const uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t half = 0; half < 2; ++half)
      for (uint32_t i = 0; i < per_word; ++i) {
        const uint32_t term = half * depth / 2 + t * per_word + i;
        a[g][term] = a_number(from.a[2 * half], i);
        a[g + 8][term] = a_number(from.a[2 * half + 1], i);
        b[g][term] = b_number(from.b[half], i);
      }
  }
  for (uint32_t lane = 0; lane < warp_lanes; ++lane) {
    auto* d = static_cast<Value*>(lanes[lane]->result);
    for (uint32_t i = 0; i < 4; ++i) {
      const Number* row = a[lane / 4 + 8 * (i / 2)];
      const Number* column = b[2 * (lane % 4) + i % 2];
      Sum sum = static_cast<Sum>(d[i]);
      for (int term = 0; term < depth; ++term)
        sum += static_cast<Sum>(row[term]) * static_cast<Sum>(column[term]);
      d[i] = static_cast<Value>(sum);
    }
  }
}

float tf32_number(uint32_t word, uint32_t) {
  return std::bit_cast<float>(word);
}
float bf16_number(uint32_t word, uint32_t i) {
  return std::bit_cast<float>(half_of(word, i) << 16);
}
int u8_number(uint32_t word, uint32_t i) {
  return static_cast<int>(byte_of(word, i));
}
int s8_number(uint32_t word, uint32_t i) {
  return static_cast<int8_t>(byte_of(word, i));
}

template <class Value>
void product(Value (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, void (*combine)(Offer* const*),
             Place place) {
  const Fragments from{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  Offer offer{Wait::matrix, &from, d};
  offer.combine = combine;
  Runner::running().meet(~0u, offer, place);
}

}  // namespace

void ldmatrix(uint32_t (&registers)[4], const uint32_t (&row)[4], bool transposed, Place place) {
  Offer offer{Wait::matrix, row, registers};
  offer.combine = transposed ? distribute<true> : distribute<false>;
  Runner::running().meet(~0u, offer, place);
}

void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place place) {
  if ((a[0] | a[1] | a[2] | a[3] | b0 | b1) & 0x1fff)
    throw Error("mma.sync on TF32: an operand has more bits than TF32: round it first");
  product(d, a, b0, b1, multiply<float, double, float, 8, tf32_number, tf32_number>, place);
}
void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place place) {
  product(d, a, b0, b1, multiply<float, double, float, 16, bf16_number, bf16_number>, place);
}
// 64-bit sums of integers: one that leaves 32 bits is the kernel's fault, whose cast below wraps as a GPU
// does.
void mma_u8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place place) {
  product(d, a, b0, b1, multiply<int, int64_t, int, 32, u8_number, s8_number>, place);
}
void mma_s8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place place) {
  product(d, a, b0, b1, multiply<int, int64_t, int, 32, s8_number, s8_number>, place);
}

}  // namespace rtfq::simt::device
