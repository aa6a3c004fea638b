// The arithmetic that oneDNN's matrix product reaches, which uses whatever the processor has (AVX-512, VNNI,
// AMX).
#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/machine.h"
#include "kernels/cpu/onednn.h"

namespace rtfq::kernels::cpu {

namespace {

using memory = dnnl::memory;
using data = memory::data_type;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Operations a second of the fastest of many products of square matrices; 0: there is no kernel for them.
double rate_of_products(MatrixType type, int64_t n, double seconds) {
  const data a_type = type == MatrixType::f32 ? data::f32 : type == MatrixType::bf16 ? data::bf16 : data::u8;
  const data b_type = type == MatrixType::int8 ? data::s8 : a_type;
  const data y_type = type == MatrixType::f32 ? data::f32 : type == MatrixType::bf16 ? data::bf16 : data::s32;
  const memory::desc a({n, n}, a_type, memory::format_tag::any), b({n, n}, b_type, memory::format_tag::any),
      y({n, n}, y_type, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc plan(onednn::engine(), a, b, y);
  // Emulation in f32 would be no peak of this type.
  if (std::string(plan.impl_info_str()).find("ref") != std::string::npos) return 0;
  memory ma(plan.src_desc(), onednn::engine()), mb(plan.weights_desc(), onednn::engine()),
      my(y, onednn::engine());
  for (memory* m : {&ma, &mb, &my})
    std::fill_n(static_cast<char*>(m->get_data_handle()), m->get_desc().get_size(), char{0});
  const dnnl::matmul product(plan);
  const auto run = [&] {
    product.execute(onednn::stream(), {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, my}});
    onednn::stream().wait();
  };
  run();
  double least = std::numeric_limits<double>::infinity();
  const auto start = Clock::now();
  for (int tries = 0; tries < 3 || since(start) < seconds; ++tries) {
    const auto before = Clock::now();
    run();
    least = std::min(least, since(before));
  }
  return 2.0 * static_cast<double>(n * n * n) / least;
}

}  // namespace

double matrix_peak(MatrixType type, double seconds) {
  double best = 0;
  // Large ones wait for memory where arithmetic is as fast as AMX's, small ones for each other's threads.
  constexpr int64_t sizes[] = {512, 1024, 1536};
  try {
    for (const int64_t n : sizes)
      best = std::max(best, rate_of_products(type, n, seconds / static_cast<double>(std::size(sizes))));
  } catch (const dnnl::error&) {
    return 0;  // this processor or this oneDNN has none
  }
  return best;
}

}  // namespace rtfq::kernels::cpu
