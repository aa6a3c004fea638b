#include "engine/ranks/host_collective.h"

#include <algorithm>

namespace rtfq::ranks {
namespace {

using kernels::runtime::Floats;

constexpr std::size_t piece_elements = std::size_t{1} << 18;

/// The next elements of `all`, at most a piece, which `all` then begins behind. `done`: of its first span.
std::vector<Floats> next_piece(std::span<const Floats>& all, std::size_t& done) {
  std::vector<Floats> piece;
  for (std::size_t room = piece_elements; room > 0 && !all.empty();) {
    const Floats& first = all.front();
    const std::size_t count = std::min(room, first.count - done);
    if (count > 0) piece.push_back({first.at + done, count});
    room -= count, done += count;
    if (done == first.count) all = all.subspan(1), done = 0;
  }
  return piece;
}

}  // namespace

void HostCollective::sum(std::span<const Floats> all, Stream stream) {
  std::vector<float> values;
  for (std::size_t done = 0; !all.empty();) {
    const std::vector<Floats> piece = next_piece(all, done);
    std::size_t count = 0;
    for (const Floats& floats : piece) count += floats.count;
    values.resize(count);
    float* value = values.data();
    for (const Floats& floats : piece) {
      kernels::runtime::copy(value, {}, floats.at, device_, floats.count * sizeof(float), stream);
      value += floats.count;
    }
    over_.sum(std::span<float>(values));
    value = values.data();
    for (const Floats& floats : piece) {
      kernels::runtime::copy(floats.at, device_, value, {}, floats.count * sizeof(float), stream);
      value += floats.count;
    }
  }
}

void HostCollective::sum(double* at, std::size_t count, Stream stream) {
  std::vector<double> values(count);
  kernels::runtime::copy(values.data(), {}, at, device_, count * sizeof(double), stream);
  over_.sum(std::span<double>(values));
  kernels::runtime::copy(at, device_, values.data(), {}, count * sizeof(double), stream);
}

}  // namespace rtfq::ranks
