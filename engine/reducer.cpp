#include "engine/reducer.h"

#include <stdexcept>

namespace rtfq {
namespace {

LocalReducer local;
Reducer* current = &local;
bool over_ranks = true;

}  // namespace

kernels::runtime::Collective& Reducer::on(Device device) {
  throw std::logic_error(std::string("[ranks] these ranks have no sums on ") + to_string(device.backend));
}

void sum_over_ranks(const Tensor& values) {
  if (current->ranks() == 1) return;
  const Device device = values.device();
  const auto count = static_cast<std::size_t>(values.count());
  if (device.backend == Backend::cpu) {
    current->sum(std::span(values.as<float>(), count));
    return;
  }
  const kernels::runtime::Floats floats{values.as<float>(), count};
  current->on(device).sum(std::span(&floats, 1), compute_stream(device));
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
