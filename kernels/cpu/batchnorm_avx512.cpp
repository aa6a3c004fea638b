// Batch normalization in AVX-512, for processors that have it.
#include "kernels/cpu/batchnorm_apply.h"
#include "kernels/cpu/batchnorm_sums.h"
#include "kernels/cpu/lanes_avx512.h"

namespace rtfq::kernels::cpu {

void batchnorm_statistics_avx512(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_statistics<Avx512, bf16>(s, a) : batchnorm_statistics<Avx512, float>(s, a);
}
void batchnorm_normalize_avx512(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_normalize<Avx512, bf16>(s, a) : batchnorm_normalize<Avx512, float>(s, a);
}
void batchnorm_reduce_avx512(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_reduce<Avx512, bf16>(s, a) : batchnorm_reduce<Avx512, float>(s, a);
}
void batchnorm_apply_avx512(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_apply<Avx512, bf16>(s, a) : batchnorm_apply<Avx512, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
