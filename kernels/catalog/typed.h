#pragma once
// Operands and results of other types than f32, for cases written in floats.

#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/catalog/catalog.h"
#include "kernels/f16.h"

namespace rtfq::kernels::catalog {

inline float as_float(float x) {
  return x;
}
inline float as_float(bf16 x) {
  return to_float(x);
}
inline float as_float(f16 x) {
  return to_float(x);
}

template <class T>
constexpr rtfq_dtype type_of = std::is_same_v<T, bf16> ? RTFQ_BF16 : RTFQ_F32;

/// An element of type T, float, bf16 or f16, from an exact value: rounded to f32, then to T.
template <class T>
T element_of(double value) {
  if constexpr (std::is_same_v<T, bf16>)
    return to_bf16(static_cast<float>(value));
  else if constexpr (std::is_same_v<T, f16>)
    return to_f16(static_cast<float>(value));
  else
    return static_cast<float>(value);
}

/// What a result of `type` holds of an exact value: one rounding to f32 and, for bf16 and f16, one more;
/// integers as they are.
inline double stored(rtfq_dtype type, double value) {
  switch (type) {
    case RTFQ_F32:
      return static_cast<float>(value);
    case RTFQ_BF16:
      return as_float(element_of<bf16>(value));
    case RTFQ_F16:
      return as_float(element_of<f16>(value));
    default:
      return value;
  }
}

inline void store(rtfq_dtype type, float x, void* to, std::size_t i) {
  switch (type) {
    case RTFQ_F32:
      static_cast<float*>(to)[i] = x;
      return;
    case RTFQ_BF16:
      static_cast<bf16*>(to)[i] = to_bf16(x);
      return;
    case RTFQ_F16:
      static_cast<f16*>(to)[i] = to_f16(x);
      return;
    case RTFQ_U8:
      static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(x);
      return;
    case RTFQ_S8:
      static_cast<int8_t*>(to)[i] = static_cast<int8_t>(x);
      return;
    default:
      throw std::logic_error("[catalog] no operand is made of this type");
  }
}

/// A poisoned buffer of `count` elements of `type`.
template <class Op>
void* add_typed(Problem<Op>* problem, rtfq_dtype type, std::size_t count) {
  return problem->template add<std::byte>(count * static_cast<std::size_t>(element_bytes(type)));
}

/// `values` as elements of `type`; they are set to what those elements hold.
template <class Op>
void* add_operand(Problem<Op>* problem, rtfq_dtype type, std::vector<float>* values) {
  void* data = add_typed(problem, type, values->size());
  for (std::size_t i = 0; i < values->size(); ++i) {
    store(type, (*values)[i], data, i);
    (*values)[i] = static_cast<float>(stored(type, (*values)[i]));
  }
  return data;
}

/// The same of values that stay as they are, because they are rounded already; a null pointer for none.
template <class Op>
void* add_operand(Problem<Op>* problem, rtfq_dtype type, const std::vector<float>& values) {
  if (values.empty()) return nullptr;
  void* data = add_typed(problem, type, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) store(type, values[i], data, i);
  return data;
}

/// Makes `restore` put back what the buffer holds now, too: a result takes an operand's place.
template <class Op>
void restore_buffer(Problem<Op>* problem, std::size_t index) {
  Buffer& buffer = *problem->buffers[index];
  const auto first = std::make_shared<std::vector<std::byte>>(buffer.as<std::byte>(),
                                                              buffer.as<std::byte>() + buffer.bytes());
  problem->restore = [first, &buffer, before = problem->restore] {
    before();
    std::copy(first->begin(), first->end(), buffer.as<std::byte>());
  };
}

}  // namespace rtfq::kernels::catalog
