#pragma once
// What an operator is: a name, a shape struct, a struct of arguments, and for every backend an ordered list
// of implementations, best first, that ends in a plain one which takes every valid shape. There is no table
// of operators to edit: a family's header declares its operators, one file per implementation defines them.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kernels/runtime/device.h"
#include "kernels/shapes.h"

namespace rtfq::kernels {

/// One way to compute an operator. Plain function pointers, so that a shared library could fill them in.
/// `launch` allocates no tensor memory and does not synchronise: the caller owns packed weights and workspace
/// and passes them inside `Args` (fields `packed`, `workspace`).
template <class Shape, class Args>
struct Implementation {
  const char* name;
  /// Why this implementation refuses the shape, or nullptr when it takes it.
  const char* (*unsupported)(const Shape&);
  void (*launch)(const Shape&, const Args&, Stream);
  /// Scratch memory one launch needs (64-byte aligned); nullptr: none.
  std::size_t (*workspace_bytes)(const Shape&) = nullptr;
  /// Size of the prepared weights; nullptr: `launch` reads the weights as they are stored.
  std::size_t (*packed_bytes)(const Shape&) = nullptr;
  /// Prepares the weights (the shape's KRSC slice) for any number of launches.
  void (*pack)(const Shape&, const void* weights, void* packed, Stream) = nullptr;

  std::size_t workspace(const Shape& shape) const { return workspace_bytes ? workspace_bytes(shape) : 0; }
  std::size_t packed(const Shape& shape) const { return packed_bytes ? packed_bytes(shape) : 0; }
};

/// "Takes every shape": what a naive implementation answers.
template <class Shape>
const char* supports_all(const Shape&) {
  return nullptr;
}

/// Makes `choose` pick the implementation called `implementation` for operator `op` ("conv2d.forward")
/// wherever it supports the shape. An empty name takes the preference back. Set it before worker threads
/// start.
void prefer(const std::string& op, const std::string& implementation);
const std::string& preference(const std::string& op);

[[noreturn]] void throw_no_implementation(const char* op, const std::string& reasons);

/// The implementation that runs `shape`: the preferred one, else the first in the list that supports it.
/// Throws std::runtime_error with every implementation's reason when none does.
template <class Op>
const typename Op::Impl& choose(Backend backend, const typename Op::Shape& shape) {
  std::string reasons;
  const auto implementations = Op::implementations(backend);
  const std::string& wanted = preference(Op::name);
  if (!wanted.empty())
    for (const auto& implementation : implementations)
      if (wanted == implementation.name && !implementation.unsupported(shape)) return implementation;
  for (const auto& implementation : implementations) {
    const char* reason = implementation.unsupported(shape);
    if (!reason) return implementation;
    reasons += std::string("; ") + implementation.name + ": " + reason;
  }
  throw_no_implementation(Op::name, reasons);
}

/// The lists of an operator that plug-ins were added to, by backend (kernels/plugin/host.h); an empty one: the build's
/// own list holds.
template <class Op>
inline std::vector<typename Op::Impl> extended_lists[3];

/// The operator's list for a backend. Throws std::runtime_error naming the operator when this build has no
/// such backend or the operator no kernel for it.
template <class Op>
std::span<const typename Op::Impl> implementations_of(Backend backend) {
  if (const auto& extended = extended_lists<Op>[static_cast<std::size_t>(backend)]; !extended.empty()) return extended;
  if (backend == Backend::cpu) return Op::cpu();
  if constexpr (requires { Op::simt(); }) {
    if (backend == Backend::simt) return Op::simt();
    if (backend == Backend::cuda && Op::cuda) return Op::cuda();
  }
  throw_backend_absent(Op::name, backend);
}

/// Bytes of one element in memory. Throws std::logic_error for a type that is none.
int64_t element_bytes(rtfq_dtype);
/// "f32", "bf16", ..., for messages; "?" for a type that is none.
const char* type_name(rtfq_dtype);

/// Bytes an operator must move and arithmetic operations it must do at least (a multiply-add counts two).
struct Cost {
  double bytes = 0;
  double operations = 0;
};

}  // namespace rtfq::kernels

/// Declares an operator: RTFQ_OPERATOR(Conv2dForward, "conv2d.forward", Conv2dShape, Conv2dForwardArgs).
/// Its list for the CPU is defined as `Name::cpu()` below kernels/cpu.
#define RTFQ_OPERATOR(Name, text, ShapeType, ArgsType) RTFQ_OPERATOR_(Name, text, ShapeType, ArgsType, )

/// Declares an operator that has kernels in kernels/cuda too. One list there is `Name::cuda()` where nvcc
/// compiles it and `Name::simt()` where the host's compiler does, for the executor (kernels/cuda/gpu.h). The former is
/// weak: a program linked without the CUDA backend has none, and everything else is compiled the same for both.
// clang-format off
#define RTFQ_CUDA_OPERATOR(Name, text, ShapeType, ArgsType) \
  RTFQ_OPERATOR_(Name, text, ShapeType, ArgsType,           \
    [[gnu::weak]] static std::span<const Impl> cuda();      \
    static std::span<const Impl> simt();)

#define RTFQ_OPERATOR_(Name, text, ShapeType, ArgsType, more_lists)            \
  struct Name {                                                                \
    using Shape = ShapeType;                                                   \
    using Args = ArgsType;                                                     \
    using Impl = ::rtfq::kernels::Implementation<Shape, Args>;                 \
    static constexpr const char* name = text;                                  \
    static std::span<const Impl> cpu();                                        \
    more_lists                                                                 \
    static std::span<const Impl> implementations(::rtfq::kernels::Backend b) { \
      return ::rtfq::kernels::implementations_of<Name>(b);                     \
    }                                                                          \
  }
// clang-format on
