#pragma once
// hopper.h under nvcc: PTX. The device code of other architectures than sm_90a traps.

#include <cuda_runtime.h>

#include <cstdint>

namespace rtfq::simt {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define RTFQ_SM90A(...) asm volatile(__VA_ARGS__)
#else
#define RTFQ_SM90A(...) __trap()
#endif

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
/// Orders this thread's writes to shared memory before what the asynchronous proxy reads after a barrier.
__device__ __forceinline__ void fence_proxy_async() {
  RTFQ_SM90A("fence.proxy.async.shared::cta;" ::: "memory");
}
/// Stores 16 bytes that wgmma will read.
__device__ __forceinline__ void store_operand(void* shared, uint4 value) {
  *static_cast<uint4*>(shared) = value;
}

__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  RTFQ_SM90A("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
             : "memory");
}
/// By the thread that has initialized, before the block's barrier: bulk copies see the mbarriers too.
__device__ __forceinline__ void mbarrier_init_fence() {
  RTFQ_SM90A("fence.mbarrier_init.release.cluster;" ::: "memory");
  fence_proxy_async();
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier) {
  RTFQ_SM90A("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
/// Expects `bytes` more of bulk copies in this phase, then arrives.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  RTFQ_SM90A("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
             "r"(bytes)
             : "memory");
}
/// Waits for the end of the phase of that parity; a barrier's first phase has parity 0.
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  RTFQ_SM90A(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
/// cp.async.bulk by one thread: addresses and size in multiples of 16 bytes.
__device__ __forceinline__ void copy_bulk(void* shared, const void* global, uint32_t bytes,
                                          uint64_t* barrier) {
  RTFQ_SM90A("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                 shared_address(shared)),
             "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(shared_address(barrier))
             : "memory");
}

__device__ __forceinline__ void wgmma_fence() {
  RTFQ_SM90A("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  RTFQ_SM90A("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `groups` of this warpgroup's groups are in flight.
template <int groups>
__device__ __forceinline__ void wgmma_wait() {
  RTFQ_SM90A("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
}

/// Keeps the compiler from moving what it does to the accumulators across this point: before the first
/// product, and behind the wait for the last.
template <class Sum, int count>
__device__ __forceinline__ void wgmma_settle(Sum (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if constexpr (sizeof(Sum) == 4 && Sum(0.5) != Sum(0))
      asm volatile("" : "+f"(d[i])::"memory");
    else
      asm volatile("" : "+r"(d[i])::"memory");
  }
}

// The accumulators as operands of one instruction: all must be named.
#define RTFQ_NAMES_32                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define RTFQ_NAMES_48 \
  RTFQ_NAMES_32       \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define RTFQ_NAMES_64 \
  RTFQ_NAMES_48       \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define RTFQ_NAMES_96                                                                \
  RTFQ_NAMES_64                                                                      \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define RTFQ_NAMES_128                                                                           \
  RTFQ_NAMES_96                                                                                  \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define RTFQ_FOUR(kind, i) kind(d[i]), kind(d[(i) + 1]), kind(d[(i) + 2]), kind(d[(i) + 3])
#define RTFQ_SIXTEEN(kind, i) \
  RTFQ_FOUR(kind, i), RTFQ_FOUR(kind, (i) + 4), RTFQ_FOUR(kind, (i) + 8), RTFQ_FOUR(kind, (i) + 12)
#define RTFQ_SUMS_32(kind) RTFQ_SIXTEEN(kind, 0), RTFQ_SIXTEEN(kind, 16)
#define RTFQ_SUMS_48(kind) RTFQ_SUMS_32(kind), RTFQ_SIXTEEN(kind, 32)
#define RTFQ_SUMS_64(kind) RTFQ_SUMS_48(kind), RTFQ_SIXTEEN(kind, 48)
#define RTFQ_SUMS_96(kind) RTFQ_SUMS_64(kind), RTFQ_SIXTEEN(kind, 64), RTFQ_SIXTEEN(kind, 80)
#define RTFQ_SUMS_128(kind) RTFQ_SUMS_96(kind), RTFQ_SIXTEEN(kind, 96), RTFQ_SIXTEEN(kind, 112)
#define RTFQ_FLOAT(x) "+f"(x)
#define RTFQ_INT(x) "+r"(x)
// D += A B, both operands in shared memory. `after` and `next` are the numbers of the two operands behind the
// sums.
#define RTFQ_BF16(n, sums, after, next, ta, tb)                                             \
  RTFQ_SM90A("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" RTFQ_NAMES_##sums \
             "}, %" #after ", %" #next ", 1, 1, 1, " #ta ", " #tb ";"                       \
             : RTFQ_SUMS_##sums(RTFQ_FLOAT)                                                 \
             : "l"(a), "l"(b))
#define RTFQ_CODES(n, sums, after, next, type)                                                \
  RTFQ_SM90A("wgmma.mma_async.sync.aligned.m64n" #n "k32.s32." type ".s8 {" RTFQ_NAMES_##sums \
             "}, %" #after ", %" #next ", 1;"                                                 \
             : RTFQ_SUMS_##sums(RTFQ_INT)                                                     \
             : "l"(a), "l"(b))
#define RTFQ_WGMMA(n, sums, after, next)                                     \
  else if constexpr (columns == n) {                                         \
    if constexpr (kind == Product::u8)                                       \
      RTFQ_CODES(n, sums, after, next, "u8");                                \
    else if constexpr (kind == Product::s8)                                  \
      RTFQ_CODES(n, sums, after, next, "s8");                                \
    else if constexpr (a_major == Major::k && b_major == Major::k)           \
      RTFQ_BF16(n, sums, after, next, 0, 0);                                 \
    else if constexpr (a_major == Major::mn && b_major == Major::mn)         \
      RTFQ_BF16(n, sums, after, next, 1, 1);                                 \
    else                                                                     \
      static_assert(columns == 0, "both operands k-major or both mn-major"); \
  }

/// Queues D += A B by the warpgroup: D has 64 rows and `columns` columns, of which a lane holds rows l/4 and
/// l/4 + 8 of its warp's 16 and columns 8j + l%4*2 and the next, as d[4j], d[4j+1] and d[4j+2], d[4j+3].
template <Product kind, int columns, Major a_major = Major::k, Major b_major = Major::k>
__device__ __forceinline__ void wgmma(typename ProductTypes<kind>::Sum (&d)[columns / 2], uint64_t a,
                                      uint64_t b) {
  if constexpr (columns == 0) {
  }
  RTFQ_WGMMA(64, 32, 32, 33)
  RTFQ_WGMMA(96, 48, 48, 49)
  RTFQ_WGMMA(128, 64, 64, 65)
  RTFQ_WGMMA(192, 96, 96, 97)
  RTFQ_WGMMA(256, 128, 128, 129)
  else static_assert(columns == 0, "64, 96, 128, 192 or 256 columns");
}

}  // namespace rtfq::simt
