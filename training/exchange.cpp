#include "training/exchange.h"

#include <bit>
#include <stdexcept>

#include "engine/reducer.h"

namespace rtfq {
namespace {

void put(const Tensor& into, std::span<const float> values) {
  into.copy_from(Tensor::from(std::vector<float>(values.begin(), values.end()), into.dims(), into.device()));
}

}  // namespace

void average(StepResult& result) {
  const int ranks = reducer().ranks();
  if (ranks == 1) return;
  // The terms of a step depend on its passes, which are the same on every rank.
  std::vector<double*> values{&result.loss, &result.source_accuracy};
  for (auto& [name, value] : result.terms) values.push_back(&value);
  for (auto& [role, terms] : result.roles)
    for (auto& [name, value] : terms) values.push_back(&value);
  std::vector<double> sums;
  for (const double* value : values) sums.push_back(*value);
  reducer().sum(std::span<double>(sums));
  for (std::size_t i = 0; i < values.size(); ++i) *values[i] = sums[i] / ranks;
}

bool anywhere(bool here) {
  if (reducer().ranks() == 1) return here;
  float flag = here ? 1 : 0;
  reducer().sum(std::span(&flag, 1));
  return flag > 0;
}

void share_statistics(const Supernet& network) {
  if (reducer().ranks() == 1) return;
  for (const auto& [name, tensor] : network.buffers()) {
    std::vector<float> values = tensor.to_vector();
    if (reducer().rank() != 0) values.assign(values.size(), 0.0f);
    reducer().sum(std::span<float>(values));
    put(tensor, values);
  }
}

void join_changes(std::span<const Tensor> tensors, std::span<const std::vector<float>> before) {
  if (reducer().ranks() == 1) return;
  if (tensors.size() != before.size()) throw std::logic_error("[ranks] a copy for each tensor expected");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<float> values = tensors[i].to_vector();
    // Differences of bits: 32 of them are exact in a double, and all but one rank have none.
    std::vector<double> changes(values.size());
    for (std::size_t j = 0; j < values.size(); ++j)
      changes[j] = std::bit_cast<uint32_t>(values[j]) ^ std::bit_cast<uint32_t>(before[i][j]);
    reducer().sum(std::span<double>(changes));
    for (std::size_t j = 0; j < values.size(); ++j)
      values[j] =
          std::bit_cast<float>(std::bit_cast<uint32_t>(before[i][j]) ^ static_cast<uint32_t>(changes[j]));
    put(tensors[i], values);
  }
}

}  // namespace rtfq
