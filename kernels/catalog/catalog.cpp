#include "kernels/catalog/catalog.h"

#include "kernels/bf16.h"
#include "kernels/philox.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numbers>
#include <stdexcept>

namespace rtfq::kernels::catalog {
namespace {

constexpr std::byte guard_byte{0xA5};
constexpr std::byte poison_byte{0xFF};

void append(std::vector<Entry>& all, std::vector<Entry> some) {
  for (auto& entry : some) all.push_back(std::move(entry));
}

double element(const Expectation& e, const Buffer& buffer, std::size_t i) {
  if (e.is_double) return buffer.as<double>()[i];
  switch (e.type) {
    case RTFQ_F32: return buffer.as<float>()[i];
    case RTFQ_U8: return buffer.as<uint8_t>()[i];
    case RTFQ_S8: return buffer.as<int8_t>()[i];
    case RTFQ_S32: return buffer.as<int32_t>()[i];
    case RTFQ_BF16: return to_float(buffer.as<bf16>()[i]);
    default: throw std::logic_error("[catalog] no comparison for this dtype");
  }
}

std::size_t bytes_of(const Expectation& e) { return e.is_double ? 8 : static_cast<std::size_t>(element_bytes(e.type)); }

}  // namespace

void Buffer::Free::operator()(std::byte* pointer) const { std::free(pointer); }

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  const std::size_t total = (bytes + 2 * guard + 63) / 64 * 64;
  storage_.reset(static_cast<std::byte*>(std::aligned_alloc(64, total)));
  if (!storage_) throw std::bad_alloc();
  std::memset(storage_.get(), static_cast<int>(guard_byte), guard);
  std::memset(storage_.get() + guard + bytes, static_cast<int>(guard_byte), guard);
  poison();
}

void Buffer::poison() {
  if (bytes_) std::memset(storage_.get() + guard, static_cast<int>(poison_byte), bytes_);
}

bool Buffer::guards_intact() const {
  for (std::size_t i = 0; i < guard; ++i)
    if (storage_[i] != guard_byte || storage_[guard + bytes_ + i] != guard_byte) return false;
  return true;
}

void fill_exact(float* x, std::size_t count, uint64_t seed, int magnitude, float scale) {
  for (std::size_t i = 0; i < count; ++i) {
    const uint32_t range = static_cast<uint32_t>(2 * magnitude + 1);
    x[i] = scale * static_cast<float>(static_cast<int>(philox4x32(seed, i, 0)[0] % range) - magnitude);
  }
}

void fill_normal(float* x, std::size_t count, uint64_t seed, float mean, float deviation) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = philox4x32(seed, i, 1);
    const double u = (bits[0] + 0.5) * 0x1p-32, v = (bits[1] + 0.5) * 0x1p-32;
    x[i] = mean + deviation * static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }
}

Verdict compare(const Expectation& e, const Buffer& buffer) {
  if (e.values.empty() || e.values.size() * bytes_of(e) != buffer.bytes())
    return {false, e.name + ": the case expects " + std::to_string(e.values.size()) + " elements in " +
                       std::to_string(buffer.bytes()) + " bytes", 0};
  Verdict verdict{true, "", 0};
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < e.values.size(); ++i) {
    const double want = e.values[i], got = element(e, buffer, i);
    if (std::isnan(want) && std::isnan(got)) continue;
    if (want == got) continue;  // also equal infinities
    const double error = std::abs(got - want), tolerance = e.absolute + e.relative * std::abs(want);
    const double ratio = tolerance > 0 ? error / tolerance : error;
    if (!(ratio <= verdict.worst)) verdict.worst = ratio;
    if (error <= tolerance) continue;
    if (wrong++ == 0)
      verdict.message = e.name + "[" + std::to_string(i) + "]: expected " + std::to_string(want) + ", found " +
                        std::to_string(got) + ", tolerance " + std::to_string(tolerance);
  }
  if (wrong) {
    verdict.ok = false;
    verdict.message += "; " + std::to_string(wrong) + " of " + std::to_string(e.values.size()) +
                       " elements are wrong, worst error " + std::to_string(verdict.worst) +
                       (e.absolute + e.relative > 0 ? " tolerances" : "");
  }
  return verdict;
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> list;
    append(list, conv2d_entries());
    append(list, linear_entries());
    append(list, fakequant_entries());
    append(list, batchnorm_entries());
    append(list, normquant_entries());
    append(list, elementwise_entries());
    append(list, pool_entries());
    append(list, image_entries());
    append(list, loss_entries());
    append(list, optimizer_entries());
    return list;
  }();
  return all;
}

}  // namespace rtfq::kernels::catalog
