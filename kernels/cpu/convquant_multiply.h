#pragma once
// The inner loop of convquant_pairs.h, instruction by instruction: g++ 12 loads the codes of all pixels
// first, has no registers left for the pairs then, and moves them about between loops where it is made to
// find some.

#include <immintrin.h>

#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {

/// Where a run begins: how far behind those of the first tap the codes of its pixels lie, its weights, and
/// what is to be fetched meanwhile.
struct PairCursor {
  int64_t at;
  const int8_t* weights;
  Ahead ahead;
};

/// pairs[P][2]: what the `steps` steps from the cursor on add to 16-bit lanes, 8 output channels and the two
/// halves of a step each; the cursor goes to their end. codes[i]: a pixel's, at its first tap.
template <int P>
void multiply(const uint8_t* const* codes, int64_t steps, PairCursor& run, __m256i (&pairs)[P][2]);

// clang-format off
#define RTFQ_WEIGHTS(step)                      \
  "vmovdqu " #step "*64(%[w]), %%ymm12\n\t"     \
  "vmovdqu " #step "*64+32(%[w]), %%ymm13\n\t"
#define RTFQ_SET(pixel)                                     \
  "vpbroadcastd (%[x" #pixel "],%[at]), %[b" #pixel "]\n\t" \
  "vpmaddubsw %%ymm12, %[b" #pixel "], %[a" #pixel "]\n\t"  \
  "vpmaddubsw %%ymm13, %[b" #pixel "], %[b" #pixel "]\n\t"
#define RTFQ_ADD(step, pixel)                                   \
  "vpbroadcastd " #step "*4(%[x" #pixel "],%[at]), %%ymm15\n\t" \
  "vpmaddubsw %%ymm12, %%ymm15, %%ymm14\n\t"                    \
  "vpmaddubsw %%ymm13, %%ymm15, %%ymm15\n\t"                    \
  "vpaddw %%ymm14, %[a" #pixel "], %[a" #pixel "]\n\t"          \
  "vpaddw %%ymm15, %[b" #pixel "], %[b" #pixel "]\n\t"
#define RTFQ_ADD_FIRST(pixel) RTFQ_ADD(0, pixel)
#define RTFQ_ADD_SECOND(pixel) RTFQ_ADD(1, pixel)
#define RTFQ_PAIRS(pixel) [a##pixel] "=&x"(pairs[pixel][0]), [b##pixel] "=&x"(pairs[pixel][1])
#define RTFQ_CODES(pixel) [x##pixel] "r"(codes[pixel])
#define RTFQ_MULTIPLY(pixels, ALL, LIST)                                                \
  template <>                                                                           \
  RTFQ_INLINE void multiply(const uint8_t* const* codes, int64_t steps, PairCursor& run,    \
                            __m256i (&pairs)[pixels][2]) {                              \
    asm volatile(                                                                       \
        /* The first step sets the pairs, */                                            \
        RTFQ_WEIGHTS(0) ALL(RTFQ_SET)                                                   \
        "add $4, %[at]\n\tadd $64, %[w]\n\tsub $3, %[steps]\n\tjl 2f\n"                \
        /* two more at a time are added, */                                             \
        "1:\n\tprefetcht0 (%[ahead])\n\tadd %[each], %[ahead]\n\t"                      \
        RTFQ_WEIGHTS(0) ALL(RTFQ_ADD_FIRST)                                             \
        RTFQ_WEIGHTS(1) ALL(RTFQ_ADD_SECOND)                                            \
        "add $8, %[at]\n\tadd $128, %[w]\n\tsub $2, %[steps]\n\tjge 1b\n"              \
        /* and one where one is left. */                                                \
        "2:\n\tcmp $-1, %[steps]\n\tjne 3f\n\t"                                       \
        RTFQ_WEIGHTS(0) ALL(RTFQ_ADD_FIRST)                                             \
        "add $4, %[at]\n\tadd $64, %[w]\n"                                              \
        "3:"                                                                            \
        : LIST(RTFQ_PAIRS), [at] "+r"(run.at), [w] "+r"(run.weights),                   \
          [ahead] "+r"(run.ahead.from), [steps] "+r"(steps)                             \
        : LIST(RTFQ_CODES), [each] "rm"(run.ahead.each_step)                            \
        : "ymm12", "ymm13", "ymm14", "ymm15", "cc", "memory");                          \
  }
#define RTFQ_ALL_1(f) f(0)
#define RTFQ_ALL_2(f) RTFQ_ALL_1(f) f(1)
#define RTFQ_ALL_3(f) RTFQ_ALL_2(f) f(2)
#define RTFQ_ALL_4(f) RTFQ_ALL_3(f) f(3)
#define RTFQ_ALL_5(f) RTFQ_ALL_4(f) f(4)
#define RTFQ_ALL_6(f) RTFQ_ALL_5(f) f(5)
#define RTFQ_LIST_1(f) f(0)
#define RTFQ_LIST_2(f) RTFQ_LIST_1(f), f(1)
#define RTFQ_LIST_3(f) RTFQ_LIST_2(f), f(2)
#define RTFQ_LIST_4(f) RTFQ_LIST_3(f), f(3)
#define RTFQ_LIST_5(f) RTFQ_LIST_4(f), f(4)
#define RTFQ_LIST_6(f) RTFQ_LIST_5(f), f(5)
RTFQ_MULTIPLY(1, RTFQ_ALL_1, RTFQ_LIST_1)
RTFQ_MULTIPLY(2, RTFQ_ALL_2, RTFQ_LIST_2)
RTFQ_MULTIPLY(3, RTFQ_ALL_3, RTFQ_LIST_3)
RTFQ_MULTIPLY(4, RTFQ_ALL_4, RTFQ_LIST_4)
RTFQ_MULTIPLY(5, RTFQ_ALL_5, RTFQ_LIST_5)
RTFQ_MULTIPLY(6, RTFQ_ALL_6, RTFQ_LIST_6)
#undef RTFQ_WEIGHTS
#undef RTFQ_SET
#undef RTFQ_ADD
#undef RTFQ_ADD_FIRST
#undef RTFQ_ADD_SECOND
#undef RTFQ_PAIRS
#undef RTFQ_CODES
#undef RTFQ_MULTIPLY
#undef RTFQ_ALL_1
#undef RTFQ_ALL_2
#undef RTFQ_ALL_3
#undef RTFQ_ALL_4
#undef RTFQ_ALL_5
#undef RTFQ_ALL_6
#undef RTFQ_LIST_1
#undef RTFQ_LIST_2
#undef RTFQ_LIST_3
#undef RTFQ_LIST_4
#undef RTFQ_LIST_5
#undef RTFQ_LIST_6
// clang-format on

}  // namespace rtfq::kernels::cpu
