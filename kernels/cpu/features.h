#pragma once
// What this processor computes faster than f32. The answers follow ONEDNN_MAX_CPU_ISA, so that a test or a
// user can take a feature away; the kernels that need it then refuse, and others take their place.

#include <string>

namespace rtfq::kernels::cpu {

/// bf16 dot products (AVX512-BF16 or AMX): convolutions on bf16 run at about twice the rate of f32. Where
/// this is false they would be emulated or run in the plain kernels: compute in f32 instead.
bool fast_bf16();

/// 8-bit dot products into 32 bits (VNNI or AMX): convolutions on codes run at about four times the rate of
/// f32. Where this is false they run exactly, but no faster than f32, in 16-bit products.
bool fast_int8();

/// AVX-512 as kernels of this project use it: F, BW, VL and DQ.
bool has_avx512();
/// Why a kernel that needs it refuses.
inline constexpr const char* no_avx512 = "this processor has no AVX-512";

/// VNNI on 256 bits in AVX2's encoding.
bool has_avx_vnni();

/// AMX's tiles of bytes, with the system's leave to use them, which this asks for.
bool has_amx();

/// "AVX-512, BF16, VNNI" or "AVX2, no BF16, no VNNI" or "AMX" (which has both), for a user's eyes.
std::string describe_features();

}  // namespace rtfq::kernels::cpu
