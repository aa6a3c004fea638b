#pragma once
// TF32: f32 whose fraction has 10 bits instead of 23, the form in which a GPU's tensor cores multiply f32. It
// is never stored: operands are rounded on their way to a product, sums are f32.

#include <bit>
#include <cstdint>

namespace rtfq::kernels {

/// Whether convolutions of f32 may round their operands to TF32 where a backend has units for it
/// (implementations called "tf32", on GPUs and the executor); elsewhere nothing changes. Holds for the whole
/// process, as `prefer` does, from the next choice of an implementation on; at first they may not.
void allow_tf32(bool);
bool tf32_allowed();

/// Allows or forbids it for the time of a scope.
class ScopedTf32 {
 public:
  explicit ScopedTf32(bool allowed) : before_(tf32_allowed()) { allow_tf32(allowed); }
  ~ScopedTf32() { allow_tf32(before_); }
  ScopedTf32(const ScopedTf32&) = delete;
  ScopedTf32& operator=(const ScopedTf32&) = delete;

 private:
  bool before_;
};

/// The nearest value of TF32, ties away from zero (PTX's cvt.rna.tf32.f32), as an f32: what would leave the
/// range is an infinity, a NaN stays one.
inline float round_to_tf32(float x) {
  if (x != x) return x;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000u) & ~0x1fffu);
}

}  // namespace rtfq::kernels
