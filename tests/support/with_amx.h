#pragma once
// The fused convolution's kernel in AMX on any processor with AVX-512 and VNNI.

#include "kernels/convquant.h"
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/features.h"
#include "tests/support/amx_emulator.h"

namespace rtfq::test {

/// While it lives, that kernel is the first choice whatever the processor.
class WithAmx {
 public:
  WithAmx() {
    kernels::cpu::has_amx();  // asks the system for them
    const auto own = kernels::ConvQuantForward::cpu();
    list().assign(own.begin(), own.end());
    list().front().unsupported = kernels::cpu::convquant_amx_unsupported;
  }
  ~WithAmx() { list().clear(); }
  WithAmx(const WithAmx&) = delete;
  WithAmx& operator=(const WithAmx&) = delete;

  /// Whether this processor has what the emulator leaves to it.
  static bool possible() { return kernels::cpu::has_avx512() && kernels::cpu::fast_int8(); }
  static constexpr const char* impossible = "the kernel in AMX also needs AVX-512 and VNNI";

 private:
  static std::vector<kernels::ConvQuantForward::Impl>& list() {
    return kernels::extended_lists<kernels::ConvQuantForward>[static_cast<std::size_t>(
        kernels::Backend::cpu)];
  }

  AmxEmulator emulator_;
};

}  // namespace rtfq::test
