#include "kernels/catalog/catalog.h"

#include <cmath>
#include <numbers>

#include "kernels/catalog/convquant.h"
#include "kernels/catalog/operands.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

void append(std::vector<Entry>& all, std::vector<Entry> some) {
  for (auto& entry : some) all.push_back(std::move(entry));
}

double nibble(const Expectation& e, const Buffer& buffer, std::size_t i) {
  const unsigned byte = buffer.as<uint8_t>()[i / 2];
  const bool high = (i % 2 == 1) == (e.nibbles == RTFQ_LOW_NIBBLE_FIRST);
  const unsigned bits = high ? byte >> 4 : byte & 15u;
  return e.type == RTFQ_S8 ? static_cast<int>(bits ^ 8u) - 8 : static_cast<int>(bits);
}

double found(const Expectation& e, const Buffer& buffer, std::size_t i) {
  if (e.nibbles != RTFQ_BYTES) return nibble(e, buffer, i);
  return e.is_double ? buffer.as<double>()[i] : element(e.type, buffer.data(), i);
}

std::size_t bytes_of(const Expectation& e) {
  return e.is_double ? 8 : static_cast<std::size_t>(element_bytes(e.type));
}

}  // namespace

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
    x[i] = mean +
           deviation * static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }
}

Verdict compare(const Expectation& e, const Buffer& buffer, Ties ties,
                const std::function<std::string(const std::string&, std::size_t)>& inputs) {
  const bool nibbles = e.nibbles != RTFQ_BYTES;
  const std::size_t elements = nibbles ? 2 * buffer.bytes() : buffer.bytes() / bytes_of(e);
  const bool sampled = !e.at.empty();
  if (e.values.empty() || e.values.size() != (sampled ? e.at.size() : elements) ||
      (!nibbles && elements * bytes_of(e) != buffer.bytes()))
    return {false,
            e.name + ": the case expects " + std::to_string(e.values.size()) + " elements in " +
                std::to_string(buffer.bytes()) + " bytes",
            0};
  Verdict verdict{true, "", 0};
  verdict.compared = e.values.size();
  std::size_t wrong = 0;
  const auto element_text = [&](std::size_t i, double want, double got) {
    const std::string from = inputs ? inputs(e.name, i) : "";
    return e.name + "[" + std::to_string(i) + "]: " + (from.empty() ? "" : from + "; ") + "expected " +
           number_text(want) + ", found " + number_text(got);
  };
  for (std::size_t n = 0; n < e.values.size(); ++n) {
    const std::size_t i = sampled ? e.at[n] : n;
    const double want = e.values[n], got = found(e, buffer, i);
    if (std::isnan(want) && std::isnan(got)) continue;
    if (want == got) continue;  // also equal infinities
    const double error = std::abs(got - want), tolerance = e.absolute + e.relative * std::abs(want);
    if (ties == Ties::near && !(error <= tolerance)) {
      const double other = e.neighbours.empty() ? want : e.neighbours[n];
      const bool neighbour =
          other == got || std::abs(got - other) <= e.absolute + e.relative * std::abs(other);
      if (neighbour || error <= tolerance + e.near_absolute + e.near_relative * std::abs(want)) {
        if (verdict.near_ties++ == 0) verdict.near_message = element_text(i, want, got);
        continue;
      }
    }
    const double ratio = tolerance > 0 ? error / tolerance : error;
    if (!(ratio <= verdict.worst)) verdict.worst = ratio;
    if (error <= tolerance) continue;
    if (wrong++ == 0)
      verdict.message = element_text(i, want, got) +
                        (tolerance > 0 ? ", tolerance " + number_text(tolerance) : ", tolerance 0");
  }
  if (wrong) {
    verdict.ok = false;
    verdict.message += "; " + std::to_string(wrong) + " of " + std::to_string(e.values.size()) +
                       " elements are wrong, worst error " + number_text(verdict.worst) +
                       (e.absolute + e.relative > 0 ? " tolerances" : "");
  }
  return verdict;
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> list;
    append(list, conv2d_entries());
    append(list, convstatistics_entries());
    append(list, linear_entries());
    append(list, fakequant_entries());
    append(list, batchnorm_entries());
    append(list, normquant_entries());
    append(list, convquant_entries());
    append(list, elementwise_entries());
    append(list, pool_entries());
    append(list, image_entries());
    append(list, loss_entries());
    append(list, optimizer_entries());
    append(list, codes_entries());
    append(list, running_entries());
    append(list, moments_entries());
    append(list, answers_entries());
    append(list, int4_entries());
    return list;
  }();
  return all;
}

}  // namespace rtfq::kernels::catalog
