#include "engine/reducer.h"

namespace rtfq {
namespace {

LocalReducer local;
Reducer* current = &local;
bool over_ranks = true;

}  // namespace

void sum_over_ranks(const Tensor& values) {
  if (current->ranks() == 1) return;
  const Tensor host = values.to({});
  current->sum(std::span<float>(host.as<float>(), static_cast<std::size_t>(host.count())));
  if (!host.shares_storage(values)) values.copy_from(host);
}

Reducer& reducer() {
  return *current;
}
void set_reducer(Reducer* reducer) {
  current = reducer ? reducer : &local;
}

bool norms_over_ranks() {
  return over_ranks;
}
void set_norms_over_ranks(bool on) {
  over_ranks = on;
}

void sum_norms_over_ranks(const Tensor& values) {
  if (over_ranks) sum_over_ranks(values);
}

AloneScope::AloneScope() : before_(current) {
  current = &local;
}
AloneScope::~AloneScope() {
  current = before_;
}

}  // namespace rtfq
