#include "kernels/cpu/plan_cache.h"

#include <omp.h>

namespace rtfq::kernels {

int plan_threads() {
  static const int count = omp_get_max_threads();
  return count;
}

PlanThreads::PlanThreads() : before_(omp_get_max_threads()) {
  omp_set_num_threads(plan_threads());
}
PlanThreads::~PlanThreads() {
  omp_set_num_threads(before_);
}

}  // namespace rtfq::kernels
