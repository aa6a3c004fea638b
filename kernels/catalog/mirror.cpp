#include "kernels/catalog/mirror.h"

#include <cstring>
#include <stdexcept>

#include "kernels/catalog/catalog.h"

namespace rtfq::kernels::catalog {
namespace {

int cuda_index = 0;
bool simt_mirrored = false, exact = false;

}  // namespace

void use_cuda_device(int index) {
  cuda_index = index;
}
Device device_of(Backend backend) {
  return {backend, backend == Backend::cuda ? cuda_index : 0};
}
bool mirrored(Backend backend) {
  return backend == Backend::cuda || (backend == Backend::simt && simt_mirrored);
}
void mirror_simt(bool wanted) {
  simt_mirrored = wanted;
}
void exact_device_memory(bool wanted) {
  exact = wanted;
}

Mirror::~Mirror() {
  for (const Place& place : places_) runtime::release(device_, place.memory);
}

void Mirror::add(Buffer& buffer, Kind kind) {
  Place place{&buffer, kind, nullptr, exact ? 0 : buffer.guard_before(), 0};
  place.total = place.before + buffer.bytes() + (exact ? 0 : buffer.guard_after());
  place.memory = static_cast<std::byte*>(runtime::allocate(device_, place.total));
  places_.push_back(place);
}

void Mirror::upload() {
  const Stream stream{device_};
  for (const Place& place : places_)
    if (!(exact && place.kind == Kind::scratch))
      runtime::copy(place.memory, device_, place.buffer->as<std::byte>() - place.before, {}, place.total,
                    stream);
}

void Mirror::download() {
  const Stream stream{device_};
  for (const Place& place : places_)
    if (!(exact && place.kind == Kind::scratch))
      runtime::copy(place.buffer->as<std::byte>() - place.before, {}, place.memory, device_, place.total,
                    stream);
}

const Mirror::Place* Mirror::place_of(const void* host) const {
  const auto* at = static_cast<const std::byte*>(host);
  for (const Place& place : places_) {
    const auto* begin = place.buffer->as<std::byte>();
    if (at >= begin && at <= begin + place.buffer->bytes()) return &place;
  }
  return nullptr;
}

void* Mirror::at(const void* host) const {
  if (!host) return nullptr;
  const Place* place = place_of(host);
  if (!place) throw std::logic_error("[catalog] an argument points outside the problem's buffers");
  return place->memory + place->before +
         (static_cast<const std::byte*>(host) - place->buffer->as<std::byte>());
}

void Mirror::translate(void* arguments, std::size_t bytes, const std::vector<Table>& tables,
                       const Mirror* other) {
  for (std::size_t i = 0; i + sizeof(void*) <= bytes; i += sizeof(void*)) {
    std::byte* word = static_cast<std::byte*>(arguments) + i;
    void* value = nullptr;
    std::memcpy(&value, word, sizeof value);
    if (!value) continue;
    if (place_of(value)) {
      value = at(value);
    } else if (other && other->place_of(value)) {
      value = other->at(value);
    } else {
      const Table* table = nullptr;
      for (const Table& one : tables)
        if (one.data() == value) table = &one;
      if (table) {
        tables_.push_back(std::make_unique<std::byte[]>(table->size()));
        std::byte* copy = tables_.back().get();
        std::memcpy(copy, table->data(), table->size());
        translate(copy, table->size(), {}, other);
        value = copy;
      } else {
        continue;
      }
    }
    std::memcpy(word, &value, sizeof value);
  }
}

}  // namespace rtfq::kernels::catalog
