// Before main and before any static constructor of ours: ends with a message on a processor that lacks what
// the rest of the binary is compiled for (x86-64-v3). This file alone is compiled for any x86-64 and uses no
// library code, of which the linker might keep a copy that was compiled for AVX2.
#include <unistd.h>

namespace {

void say(const char* text) {
  unsigned long length = 0;
  while (text[length]) ++length;
  if (write(STDERR_FILENO, text, length) < 0) _exit(1);
}

__attribute__((constructor(101))) void require_avx2() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) return;
  say("rtfq: this processor is too old: it lacks");
  if (!__builtin_cpu_supports("avx")) say(" AVX");
  if (!__builtin_cpu_supports("avx2")) say(" AVX2");
  if (!__builtin_cpu_supports("fma")) say(" FMA");
  if (!__builtin_cpu_supports("f16c")) say(" F16C");
  if (!__builtin_cpu_supports("bmi")) say(" BMI");
  if (!__builtin_cpu_supports("bmi2")) say(" BMI2");
  if (!__builtin_cpu_supports("lzcnt")) say(" LZCNT");
  if (!__builtin_cpu_supports("movbe")) say(" MOVBE");
  say("; any Intel processor from Haswell (2013) on or AMD processor from Zen (2017) on will do\n");
  _exit(1);
}

}  // namespace
