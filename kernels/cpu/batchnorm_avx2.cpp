// Batch normalization in AVX2.
#include "kernels/cpu/batchnorm_apply.h"
#include "kernels/cpu/batchnorm_sums.h"
#include "kernels/cpu/lanes_avx2.h"

namespace rtfq::kernels::cpu {

void batchnorm_statistics_avx2(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_statistics<Avx2, bf16>(s, a) : batchnorm_statistics<Avx2, float>(s, a);
}
void batchnorm_normalize_avx2(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_normalize<Avx2, bf16>(s, a) : batchnorm_normalize<Avx2, float>(s, a);
}
void batchnorm_reduce_avx2(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_reduce<Avx2, bf16>(s, a) : batchnorm_reduce<Avx2, float>(s, a);
}
void batchnorm_apply_avx2(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream) {
  s.type == RTFQ_BF16 ? batchnorm_apply<Avx2, bf16>(s, a) : batchnorm_apply<Avx2, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
