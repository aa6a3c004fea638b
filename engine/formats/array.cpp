#include "engine/formats/array.h"

#include "kernels/bf16.h"
#include "kernels/f16.h"

namespace rtfq::formats {
namespace {

constexpr std::size_t most_dimensions = 16;

template <class T>
T load(const unsigned char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

float element(ElementType type, const unsigned char* p) {
  switch (type) {
    case ElementType::f64:
      return static_cast<float>(load<double>(p));
    case ElementType::f32:
      return load<float>(p);
    case ElementType::f16:
      return kernels::to_float(load<kernels::f16>(p));
    case ElementType::bf16:
      return kernels::to_float(load<kernels::bf16>(p));
    case ElementType::i64:
      return static_cast<float>(load<int64_t>(p));
    case ElementType::i32:
      return static_cast<float>(load<int32_t>(p));
    case ElementType::i16:
      return static_cast<float>(load<int16_t>(p));
    case ElementType::i8:
      return static_cast<float>(load<int8_t>(p));
    case ElementType::u8:
      return static_cast<float>(*p);
    case ElementType::boolean:
      return *p ? 1.0f : 0.0f;
  }
  throw std::logic_error("[formats] unknown element type");
}

}  // namespace

std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::f64:
    case ElementType::i64:
      return 8;
    case ElementType::f32:
    case ElementType::i32:
      return 4;
    case ElementType::f16:
    case ElementType::bf16:
    case ElementType::i16:
      return 2;
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::boolean:
      return 1;
  }
  throw std::logic_error("[formats] unknown element type");
}

const char* to_string(ElementType type) {
  switch (type) {
    case ElementType::f64:
      return "float64";
    case ElementType::f32:
      return "float32";
    case ElementType::f16:
      return "float16";
    case ElementType::bf16:
      return "bfloat16";
    case ElementType::i64:
      return "int64";
    case ElementType::i32:
      return "int32";
    case ElementType::i16:
      return "int16";
    case ElementType::i8:
      return "int8";
    case ElementType::u8:
      return "uint8";
    case ElementType::boolean:
      return "bool";
  }
  throw std::logic_error("[formats] unknown element type");
}

int64_t ArrayView::count() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

const ArrayView& checked(const ArrayView& view, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw FormatError("tensor " + shown_name(name) + " " + why);
  };
  if (view.shape.size() > most_dimensions)
    refuse("has " + std::to_string(view.shape.size()) + " dimensions, at most " +
           std::to_string(most_dimensions) + " are possible");
  if (view.strides.size() != view.shape.size())
    refuse("has " + std::to_string(view.shape.size()) + " dimensions but " +
           std::to_string(view.strides.size()) + " strides");
  const int64_t elements = static_cast<int64_t>(view.storage.size() / size_of(view.type));
  int64_t count = 1, last = view.offset;
  bool overflow = view.offset < 0;
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    const int64_t size = view.shape[i], stride = view.strides[i];
    int64_t reach = 0;
    overflow |= size < 0 || stride < 0 || __builtin_mul_overflow(count, size, &count) ||
                __builtin_mul_overflow(size > 0 ? size - 1 : 0, stride, &reach) ||
                __builtin_add_overflow(last, reach, &last);
    if (overflow) break;
  }
  if (overflow || (count > 0 && last >= elements))
    refuse("of shape " + shape_text(view.shape) + ", strides " + shape_text(view.strides) + " and offset " +
           std::to_string(view.offset) + " does not fit its storage of " + std::to_string(elements) + " " +
           to_string(view.type) + " values");
  if (count > elements)
    refuse("of shape " + shape_text(view.shape) + " shows each of its " + std::to_string(elements) +
           " stored values more than once: save it after .contiguous()");
  return view;
}

std::vector<int64_t> dense_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;)
    if (__builtin_mul_overflow(strides[i], shape[i], &strides[i - 1]))
      throw FormatError("shape " + shape_text(shape) + " is too large");
  return strides;
}

std::vector<float> to_f32(const ArrayView& view) {
  const std::size_t width = size_of(view.type), rank = view.shape.size();
  std::vector<float> values(static_cast<std::size_t>(view.count()));
  if (values.empty()) return values;
  const unsigned char* base = view.storage.data();
  if (view.type == ElementType::f32 && view.strides == dense_strides(view.shape)) {
    std::memcpy(values.data(), base + static_cast<std::size_t>(view.offset) * width, values.size() * width);
    return values;
  }
  std::vector<int64_t> index(rank, 0);
  int64_t at = view.offset;
  for (float& value : values) {
    value = element(view.type, base + static_cast<std::size_t>(at) * width);
    for (std::size_t d = rank; d-- > 0;) {
      at += view.strides[d];
      if (++index[d] < view.shape[d]) break;
      at -= view.strides[d] * view.shape[d];
      index[d] = 0;
    }
  }
  return values;
}

}  // namespace rtfq::formats
