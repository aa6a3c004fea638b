#pragma once
// V consecutive values of f32, bf16, u8 or s8 at a time, with the widest accesses that they fill (16 bytes
// for 4 floats, 8 bf16 or 16 codes): `fetch` keeps them as memory holds them, so that a loop can have several
// in flight in few registers; `floats` makes numbers of them; `load` is both; `store` rounds once, to the
// nearest even. A pointer must be aligned to the V values (to 16 bytes where they are more); on the executor
// an access that is not is an error with its address.

#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

/// V floats in registers.
template <int V>
struct Floats {
  float v[V];
};

namespace access {

/// `n` words that one access moves: 1, 2 or 4.
template <int n>
struct Words {
  uint32_t w[n];
};

#if defined(__CUDACC__)
template <int n>
__device__ __forceinline__ Words<n> load_words(const void* p) {
  static_assert(n == 1 || n == 2 || n == 4);
  if constexpr (n == 4) {
    const uint4 u = *static_cast<const uint4*>(p);
    return {{u.x, u.y, u.z, u.w}};
  } else if constexpr (n == 2) {
    const uint2 u = *static_cast<const uint2*>(p);
    return {{u.x, u.y}};
  } else {
    return {{*static_cast<const uint32_t*>(p)}};
  }
}
/// To global or shared memory. Of an ordinary store of a uint4 the compiler makes four now and then.
template <int n>
__device__ __forceinline__ void store_words(void* p, const Words<n>& x) {
  static_assert(n == 1 || n == 2 || n == 4);
  if constexpr (n == 4)
    asm volatile("st.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(x.w[0]), "r"(x.w[1]), "r"(x.w[2]),
                 "r"(x.w[3])
                 : "memory");
  else if constexpr (n == 2)
    asm volatile("st.v2.b32 [%0], {%1, %2};" ::"l"(p), "r"(x.w[0]), "r"(x.w[1]) : "memory");
  else
    *static_cast<uint32_t*>(p) = x.w[0];
}
/// Two floats as bf16, the first in the lower half. A NaN becomes 0x7fff, whatever its payload; all else is
/// to_bf16's, bit for bit.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
/// Byte `byte` of `word` below the upper three bytes of `upper`.
template <int byte>
__device__ __forceinline__ uint32_t byte_below(uint32_t word, uint32_t upper) {
  return __byte_perm(word, upper, 0x7650 | byte);
}
/// The lowest bytes of four words, in order.
__device__ __forceinline__ uint32_t low_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}
#else
/// What a GPU would answer with "misaligned address".
template <int n>
void require_aligned(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % (4 * n))
    throw simt::Error("an access of " + std::to_string(4 * n) + " bytes at " +
                      std::to_string(reinterpret_cast<uintptr_t>(p)) + ", which is no multiple of them");
}
template <int n>
Words<n> load_words(const void* p) {
  static_assert(n == 1 || n == 2 || n == 4);
  require_aligned<n>(p);
  Words<n> x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
template <int n>
void store_words(void* p, const Words<n>& x) {
  static_assert(n == 1 || n == 2 || n == 4);
  require_aligned<n>(p);
  std::memcpy(p, &x, sizeof(x));
}
inline uint32_t pack_bf16(float low, float high) {
  return uint32_t{to_bf16(low).bits} | uint32_t{to_bf16(high).bits} << 16;
}
template <int byte>
uint32_t byte_below(uint32_t word, uint32_t upper) {
  return (word >> 8 * byte & 0xffu) | (upper & 0xffffff00u);
}
inline uint32_t low_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return (a & 0xffu) | (b & 0xffu) << 8 | (c & 0xffu) << 16 | d << 24;
}
#endif

}  // namespace access

/// V values of type T as memory holds them: whole words, or one value that is less than a word.
template <class T, int V>
struct Packed {
  static constexpr int bytes = V * static_cast<int>(sizeof(T));
  static constexpr bool whole = bytes % 4 == 0;
  static_assert(whole || V == 1, "one value, or as many as fill words");
  std::conditional_t<whole, access::Words<whole ? bytes / 4 : 1>, T> bits;
};

template <int V, class T>
__device__ __forceinline__ Packed<T, V> fetch(const T* p) {
  using Values = Packed<T, V>;
  Values x;
  if constexpr (!Values::whole) {
    x.bits = *p;
  } else {
    constexpr int words = Values::bytes / 4, each = words < 4 ? words : 4;
#pragma unroll
    for (int i = 0; i < words; i += each) {
      const access::Words<each> part = access::load_words<each>(reinterpret_cast<const char*>(p) + 4 * i);
#pragma unroll
      for (int j = 0; j < each; ++j) x.bits.w[i + j] = part.w[j];
    }
  }
  return x;
}

template <class T, int V>
__device__ __forceinline__ void put(T* p, const Packed<T, V>& x) {
  using Values = Packed<T, V>;
  if constexpr (!Values::whole) {
    *p = x.bits;
  } else {
    constexpr int words = Values::bytes / 4, each = words < 4 ? words : 4;
#pragma unroll
    for (int i = 0; i < words; i += each) {
      access::Words<each> part;
#pragma unroll
      for (int j = 0; j < each; ++j) part.w[j] = x.bits.w[i + j];
      access::store_words<each>(reinterpret_cast<char*>(p) + 4 * i, part);
    }
  }
}

/// Added to a float of magnitude below 2^22 it leaves the nearest integer, ties to even, in the sum's low
/// bits. Two additions round at the full rate of the pipelines, where rintf and the conversions to integers
/// run at a quarter.
constexpr float integer_shift = 12582912.0f;

/// rint(x) for |x| <= 2^22, but for the sign of a zero.
__device__ __forceinline__ float round_even(float x) {
  return (x + integer_shift) - integer_shift;
}

/// The values as numbers.
template <class T, int V>
__device__ __forceinline__ Floats<V> floats(const Packed<T, V>& x) {
  Floats<V> f;
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int j = 0; j < V; ++j) f.v[j] = __uint_as_float(x.bits.w[j]);
  } else if constexpr (std::is_same_v<T, bf16>) {
    if constexpr (V == 1) {
      f.v[0] = __uint_as_float(uint32_t{x.bits.bits} << 16);
    } else {
#pragma unroll
      for (int j = 0; j < V; j += 2) {
        f.v[j] = __uint_as_float(x.bits.w[j / 2] << 16);
        f.v[j + 1] = __uint_as_float(x.bits.w[j / 2] & 0xffff0000u);
      }
    }
  } else if constexpr (V == 1) {
    f.v[0] = static_cast<float>(x.bits);
  } else {
    // The low byte of 2^23 + n is n; a signed one is moved up by 128 and the sum back down.
    constexpr bool is_signed = std::is_signed_v<T>;
    constexpr float base = is_signed ? 8388736.0f : 8388608.0f;
#pragma unroll
    for (int j = 0; j < V; j += 4) {
      const uint32_t word = is_signed ? x.bits.w[j / 4] ^ 0x80808080u : x.bits.w[j / 4];
      f.v[j] = __uint_as_float(access::byte_below<0>(word, 0x4b000000u)) - base;
      f.v[j + 1] = __uint_as_float(access::byte_below<1>(word, 0x4b000000u)) - base;
      f.v[j + 2] = __uint_as_float(access::byte_below<2>(word, 0x4b000000u)) - base;
      f.v[j + 3] = __uint_as_float(access::byte_below<3>(word, 0x4b000000u)) - base;
    }
  }
  return f;
}

template <int V, class T>
__device__ __forceinline__ Floats<V> load(const T* p) {
  return floats(fetch<V>(p));
}

/// As elements of type T, f32 or bf16, hold them.
template <class T, int V>
__device__ __forceinline__ Packed<T, V> packed(const Floats<V>& f) {
  Packed<T, V> x;
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int j = 0; j < V; ++j) x.bits.w[j] = __float_as_uint(f.v[j]);
  } else {
    static_assert(std::is_same_v<T, bf16>, "codes are stored by store_codes");
    if constexpr (V == 1) {
      x.bits.bits = static_cast<uint16_t>(access::pack_bf16(f.v[0], 0.0f));
    } else {
#pragma unroll
      for (int j = 0; j < V; j += 2) x.bits.w[j / 2] = access::pack_bf16(f.v[j], f.v[j + 1]);
    }
  }
  return x;
}

template <int V, class T>
__device__ __forceinline__ void store(T* p, const Floats<V>& f) {
  put(p, packed<T>(f));
}

/// What `store` stores, as floats.
template <class T, int V>
__device__ __forceinline__ Floats<V> rounded(const Floats<V>& f) {
  return floats(packed<T>(f));
}

/// Stores f, clamped to integer bounds but not yet rounded, as 8-bit codes, unsigned or in two's complement.
template <int V>
__device__ __forceinline__ void store_codes(uint8_t* p, const Floats<V>& f) {
  if constexpr (V == 1) {
    *p = static_cast<uint8_t>(__float_as_uint(f.v[0] + integer_shift));
  } else {
    Packed<uint8_t, V> x;
    uint32_t code[V];
#pragma unroll
    for (int j = 0; j < V; ++j) code[j] = __float_as_uint(f.v[j] + integer_shift);
#pragma unroll
    for (int j = 0; j < V; j += 4)
      x.bits.w[j / 4] = access::low_bytes(code[j], code[j + 1], code[j + 2], code[j + 3]);
    put(p, x);
  }
}

/// Values that one 16-byte access moves.
template <class T>
constexpr int per_access = 16 / static_cast<int>(sizeof(T));

}  // namespace rtfq::kernels::RTFQ_GPU
