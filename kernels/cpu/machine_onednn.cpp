// The arithmetic that oneDNN's matrix product reaches, which uses whatever the processor has (AVX-512, VNNI, AMX).
#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/machine.h"
#include "kernels/cpu/onednn.h"

namespace rtfq::kernels::cpu {

double matrix_peak(MatrixType type, double seconds) {
  using memory = dnnl::memory;
  using data = memory::data_type;
  using Clock = std::chrono::steady_clock;
  constexpr int64_t n = 1536;
  const data a_type = type == MatrixType::f32 ? data::f32 : type == MatrixType::bf16 ? data::bf16 : data::u8;
  const data b_type = type == MatrixType::int8 ? data::s8 : a_type;
  const data y_type = type == MatrixType::f32 ? data::f32 : type == MatrixType::bf16 ? data::bf16 : data::s32;
  try {
    const memory::desc a({n, n}, a_type, memory::format_tag::ab), b({n, n}, b_type, memory::format_tag::any),
        y({n, n}, y_type, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc plan(onednn::engine(), a, b, y);
    // Emulation in f32 would be no peak of this type.
    if (std::string(plan.impl_info_str()).find("ref") != std::string::npos) return 0;
    memory ma(a, onednn::engine()), mb(plan.weights_desc(), onednn::engine()), my(y, onednn::engine());
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
    for (int tries = 0; tries < 3 || std::chrono::duration<double>(Clock::now() - start).count() < seconds; ++tries) {
      const auto before = Clock::now();
      run();
      least = std::min(least, std::chrono::duration<double>(Clock::now() - before).count());
    }
    return 2.0 * static_cast<double>(n * n * n) / least;
  } catch (const dnnl::error&) {
    return 0;  // this processor or this oneDNN has none
  }
}

}  // namespace rtfq::kernels::cpu
