// What the executor cannot vouch for, on a GPU of compute capability 9.0: whether matrix descriptors,
// swizzles and fences mean there what kernels/simt takes them for. A program of its own, without the rest of
// the project:
//
//   nvcc -std=c++20 -O3 -fmad=false -gencode arch=compute_90a,code=sm_90a -I . tests/gpu/wgmma_check.cu -o
//   wgmma_check
//   ./wgmma_check          (a line a form; exit status 1 where a product is wrong)
#include <cstdio>

#include "tests/simt/wgmma_tile.h"

using namespace rtfq;
using namespace rtfq::test;
using simt::Product;

namespace {

template <class T>
struct OnDevice {
  explicit OnDevice(const std::vector<T>& host) : size(host.size()) {
    simt::check_launch(cudaMalloc(&data, size * sizeof(T)), "cudaMalloc");
    simt::check_launch(cudaMemcpy(data, host.data(), size * sizeof(T), cudaMemcpyHostToDevice),
                       "copy to the device");
  }
  ~OnDevice() { cudaFree(data); }
  OnDevice(const OnDevice&) = delete;
  std::vector<T> read() const {
    std::vector<T> host(size);
    simt::check_launch(cudaMemcpy(host.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost), "a product");
    return host;
  }
  T* data = nullptr;
  std::size_t size;
};

template <class Sum>
bool report(const char* form, int n, int depth, const std::vector<Sum>& got, const std::vector<Sum>& want) {
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = want.size(); i-- > 0;)
    if (!(got[i] == want[i])) ++wrong, first = i;
  std::printf("%-5s %-22s 64 x %3d x %3d", wrong ? "WRONG" : "ok", form, n, depth);
  if (wrong)
    std::printf(": %zu of %zu, the first at row %zu column %zu: %g instead of %g", wrong, want.size(),
                first / static_cast<std::size_t>(n), first % static_cast<std::size_t>(n),
                static_cast<double>(got[first]), static_cast<double>(want[first]));
  std::printf("\n");
  return wrong == 0;
}

template <Product kind, int n>
bool rows(const char* form, int steps) {
  const int depth = steps * 128 / simt::ProductTypes<kind>::bytes;
  const TileProblem<kind> problem(n, depth, false);
  const OnDevice<unsigned char> a(problem.a), b(problem.b);
  const OnDevice<typename TileProblem<kind>::Sum> d(
      std::vector<typename TileProblem<kind>::Sum>(problem.d.size(), 77));
  simt::launch(product_of_rows<kind, n, TileFault::none>, dim3(1), dim3(128), tile_shared_bytes(n, 2),
               nullptr, a.data, b.data, d.data, steps);
  return report(form, n, depth, d.read(), problem.d);
}

template <int n>
bool columns(int depth) {
  const TileProblem<Product::bf16> problem(n, depth, true);
  const OnDevice<unsigned char> a(problem.a), b(problem.b);
  const OnDevice<float> d(std::vector<float>(problem.d.size(), 77));
  simt::launch(product_of_columns<n>, dim3(1), dim3(128), tile_shared_bytes(n, 1), nullptr, a.data, b.data,
               d.data, depth);
  return report("bf16, mn-major", n, depth, d.read(), problem.d);
}

template <int n>
bool all() {
  bool good = true;
  for (const int steps : {1, 5}) {
    good &= rows<Product::bf16, n>("bf16, k-major", steps);
    good &= rows<Product::u8, n>("u8 x s8", steps);
    good &= rows<Product::s8, n>("s8 x s8", steps);
  }
  if constexpr (n % 64 == 0)
    for (const int depth : {16, 64}) good &= columns<n>(depth);
  return good;
}

}  // namespace

int main() {
  try {
    const bool a = all<64>(), b = all<96>(), c = all<128>(), d = all<192>(), e = all<256>();
    return a && b && c && d && e ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
