#pragma once
// Launching an operator on tensors: choose, give it workspace from the pool, run.

#include <atomic>
#include <concepts>

#include "engine/ops/used.h"
#include "engine/tensor.h"
#include "kernels/operator.h"

namespace rtfq::ops {

inline rtfq_dtype kernel_type(DType type) {
  return static_cast<rtfq_dtype>(type);
}

/// Runs `Op` on `shape`; when its arguments have a `workspace`, it is a pool block that lives for the launch.
template <class Op>
void launch(Stream stream, const typename Op::Shape& shape, typename Op::Args args) {
  const auto& implementation = kernels::choose<Op>(stream.device.backend, shape);
  static std::atomic<const void*> last = nullptr;
  if (last.exchange(&implementation, std::memory_order_relaxed) != &implementation)
    note_used(stream.device.backend, Op::name, implementation.name);
  Tensor workspace;
  if constexpr (requires { args.workspace; }) {
    const std::size_t bytes = implementation.workspace(shape);
    if (bytes) {
      const memory::HeldBy by("workspaces");
      workspace = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, stream.device);
      args.workspace = workspace.data();
    }
  }
  implementation.launch(shape, args, stream);
}

/// Packed weights of `Op` for `shape`, or undefined where the implementation reads them as stored.
template <class Op>
Tensor pack(Stream stream, const typename Op::Shape& shape, const Tensor& weights) {
  const auto& implementation = kernels::choose<Op>(stream.device.backend, shape);
  const std::size_t bytes = implementation.packed(shape);
  if (!bytes) return {};
  Tensor packed = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, stream.device);
  implementation.pack(shape, weights.data(), packed.data(), stream);
  return packed;
}

}  // namespace rtfq::ops
