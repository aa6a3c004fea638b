#pragma once
// The CPU's implementations of convolution, norm and quantizers in one pass.

#include "kernels/convquant.h"

namespace rtfq::kernels::cpu {

void convquant_naive(const ConvQuantShape&, const ConvQuantArgs&, Stream);

// AVX-512 with VNNI: u8 codes of channels in fours, and images of few channels in s8.
const char* convquant_vnni_unsupported(const ConvQuantShape&);
std::size_t convquant_vnni_workspace(const ConvQuantShape&);
std::size_t convquant_vnni_packed(const ConvQuantShape&);
void convquant_vnni_pack(const ConvQuantShape&, const void* weights, void* packed, Stream);
void convquant_vnni(const ConvQuantShape&, const ConvQuantArgs&, Stream);

// AVX-VNNI: the same shapes.
const char* convquant_avxvnni_unsupported(const ConvQuantShape&);
std::size_t convquant_avxvnni_workspace(const ConvQuantShape&);
std::size_t convquant_avxvnni_packed(const ConvQuantShape&);
void convquant_avxvnni_pack(const ConvQuantShape&, const void* weights, void* packed, Stream);
void convquant_avxvnni(const ConvQuantShape&, const ConvQuantArgs&, Stream);

// AVX2: the same shapes.
const char* convquant_avx2_unsupported(const ConvQuantShape&);
std::size_t convquant_avx2_workspace(const ConvQuantShape&);
std::size_t convquant_avx2_packed(const ConvQuantShape&);
void convquant_avx2_pack(const ConvQuantShape&, const void* weights, void* packed, Stream);
void convquant_avx2(const ConvQuantShape&, const ConvQuantArgs&, Stream);

// AMX: u8 and s8 codes of any channels.
const char* convquant_amx_unsupported(const ConvQuantShape&);
std::size_t convquant_amx_workspace(const ConvQuantShape&);
std::size_t convquant_amx_packed(const ConvQuantShape&);
void convquant_amx_pack(const ConvQuantShape&, const void* weights, void* packed, Stream);
void convquant_amx(const ConvQuantShape&, const ConvQuantArgs&, Stream);

}  // namespace rtfq::kernels::cpu
