#pragma once
// hopper.h under a host compiler: each lane computes its own accumulators of a product, from the bytes that
// the descriptors name.

#include "kernels/simt/device_host.h"

namespace rtfq::simt {

namespace device {

/// One operand of a product as its descriptor tells of it, checked.
class Matrix {
 public:
  explicit Matrix(uint64_t descriptor)
      : start_(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
        leading_(static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4),
        stride_(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4) {
    if (descriptor >> 62 != 1) throw Error("wgmma: the executor knows the 128-byte swizzle alone");
    if (descriptor >> 49 & 7) throw Error("wgmma: the executor knows tiles on multiples of 1024 bytes alone");
    if (stride_ % 1024 || leading_ % 1024)
      throw Error("wgmma: groups of 8 rows of 128 bytes lie on multiples of 1024 bytes");
  }

  /// The 32 bytes that one step sums over, of row `row` of a k-major tile.
  template <class T, class Sum, int count>
  void row(int row, Sum (&out)[count]) const {
    static_assert(count * sizeof(T) == 32);
    const uint32_t from =
        start_ + static_cast<uint32_t>(row / 8) * stride_ + static_cast<uint32_t>(row % 8) * 128;
    for (uint32_t half = 0; half < 2; ++half) {
      T values[count / 2];
      std::memcpy(values, chunk(from + 16 * half), 16);
      for (int i = 0; i < count / 2; ++i) out[static_cast<int>(half) * count / 2 + i] = number(values[i]);
    }
  }
  /// Element `mn` of the 16 rows that one step sums over, of an mn-major tile.
  void column(int mn, float (&out)[16]) const {
    for (int k = 0; k < 16; ++k) {
      const uint32_t at = start_ + static_cast<uint32_t>(mn / 64) * leading_ +
                          static_cast<uint32_t>(k / 8) * stride_ + static_cast<uint32_t>(k % 8) * 128 +
                          static_cast<uint32_t>(mn % 64) * 2;
      uint16_t value;
      std::memcpy(&value, chunk(at & ~15u) + at % 16, 2);
      out[k] = number(value);
    }
  }

 private:
  static float number(uint16_t bf16) { return __uint_as_float(uint32_t{bf16} << 16); }
  static int number(uint8_t x) { return x; }
  static int number(int8_t x) { return x; }
  static const unsigned char* chunk(uint32_t address) {
    return async_view(address ^ (address >> 7 & 7) << 4, 16);
  }

  uint32_t start_, leading_, stride_;
};

/// A lane's share of D += A B: rows of its warp's 16 and two neighbouring columns of every 8.
template <Product kind, int n, Major a_major, Major b_major>
void product(void* accumulators, uint64_t a_descriptor, uint64_t b_descriptor) {
  using Sum = typename ProductTypes<kind>::Sum;
  using A = std::conditional_t<kind == Product::bf16, uint16_t,
                               std::conditional_t<kind == Product::u8, uint8_t, int8_t>>;
  using B = std::conditional_t<kind == Product::bf16, uint16_t, int8_t>;
  constexpr int depth = 32 / ProductTypes<kind>::bytes;
  auto* d = static_cast<Sum*>(accumulators);
  const Matrix a(a_descriptor), b(b_descriptor);
  const auto thread = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int row = thread / 32 % 4 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  const auto read = [](const Matrix& m, Major major, int i, Sum(&out)[depth], auto element) {
    if constexpr (kind == Product::bf16)
      if (major == Major::mn) return m.column(i, out);
    m.template row<decltype(element)>(i, out);
  };
  Sum upper[depth], lower[depth], other[depth];
  read(a, a_major, row, upper, A{});
  read(a, a_major, row + 8, lower, A{});
  for (int j = 0; j < n / 8; ++j)
    for (int e = 0; e < 2; ++e) {
      read(b, b_major, j * 8 + column + e, other, B{});
      Sum first = 0, second = 0;
      for (int k = 0; k < depth; ++k) {
        first += upper[k] * other[k];
        second += lower[k] * other[k];
      }
      d[4 * j + e] += first;
      d[4 * j + 2 + e] += second;
    }
}

}  // namespace device

inline uint32_t shared_address(const void* p) {
  return device::shared_offset(p);
}
inline void fence_proxy_async() {
  device::fence_proxy_async();
}
/// Stores 16 bytes that wgmma will read.
inline void store_operand(void* shared, uint4 value) {
  *static_cast<uint4*>(shared) = value;
  device::note_shared_write(shared, 16);
}

inline void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  device::mbarrier_init(barrier, arrivals);
}
inline void mbarrier_init_fence() {
  device::mbarrier_init_fence();
}
inline void mbarrier_arrive(uint64_t* barrier) {
  device::mbarrier_arrive(barrier, 0);
}
inline void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  device::mbarrier_arrive(barrier, bytes);
}
inline void mbarrier_wait(uint64_t* barrier, uint32_t parity, SIMT_HERE) {
  device::mbarrier_wait(barrier, parity, here);
}
inline void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  device::copy_bulk(shared, global, bytes, barrier);
}

inline void wgmma_fence(SIMT_HERE) {
  device::wgmma_fence(here);
}
inline void wgmma_commit(SIMT_HERE) {
  device::wgmma_commit(here);
}
template <int groups>
void wgmma_wait(SIMT_HERE) {
  device::wgmma_wait(groups, here);
}
template <class Sum, int count>
void wgmma_settle(Sum (&)[count]) {}
template <Product kind, int n, Major a_major = Major::k, Major b_major = Major::k>
void wgmma(typename ProductTypes<kind>::Sum (&d)[n / 2], uint64_t a, uint64_t b, SIMT_HERE) {
  static_assert(kind == Product::bf16 || (a_major == Major::k && b_major == Major::k), "codes are k-major");
  device::wgmma(d, a, b, device::product<kind, n, a_major, b_major>, here);
}

}  // namespace rtfq::simt
