#include "engine/ranks/reducer.h"

#include <algorithm>
#include <chrono>

#include "engine/ranks/host_collective.h"

namespace rtfq::ranks {
namespace {

/// Up to here two hops to rank 0 and back beat the ring, whose bytes are fewer and hops more.
constexpr std::size_t short_bytes = 32 << 10;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

RankReducer::RankReducer(Transport& transport, int rank, int ranks, std::atomic<uint64_t>& entered)
    : transport_(transport), rank_(rank), ranks_(ranks), entered_(entered) {}

RankReducer::RankReducer(Transport& first, Transport* second, int rank, int ranks,
                         std::atomic<uint64_t>& entered)
    : RankReducer(first, rank, ranks, entered) {
  if (second) beside_ = std::make_unique<RankReducer>(*second, rank, ranks, entered);
}

void RankReducer::exchange(int to, const void* out, std::size_t out_bytes, int from, void* in,
                           std::size_t in_bytes) {
  transport_.exchange(to, out, out_bytes, from, in, in_bytes);
  traffic_.bytes += out_bytes;
}

template <class T>
void RankReducer::pair(std::span<T> values) {
  const std::size_t bytes = values.size_bytes();
  buffer_.resize(bytes);
  const T* other = reinterpret_cast<const T*>(buffer_.data());
  exchange(1 - rank_, values.data(), bytes, 1 - rank_, buffer_.data(), bytes);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = rank_ == 0 ? values[i] + other[i] : other[i] + values[i];
}

template <class T>
void RankReducer::star(std::span<T> values) {
  const std::size_t bytes = values.size_bytes();
  if (rank_ != 0) {
    exchange(0, values.data(), bytes, 0, nullptr, 0);
    exchange(0, nullptr, 0, 0, values.data(), bytes);
    return;
  }
  buffer_.resize(bytes);
  const T* other = reinterpret_cast<const T*>(buffer_.data());
  for (int from = 1; from < ranks_; ++from) {
    exchange(from, nullptr, 0, from, buffer_.data(), bytes);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += other[i];
  }
  for (int to = 1; to < ranks_; ++to) exchange(to, values.data(), bytes, to, nullptr, 0);
}

template <class T>
void RankReducer::ring(std::span<T> values) {
  const std::size_t n = static_cast<std::size_t>(ranks_), me = static_cast<std::size_t>(rank_);
  const auto piece = [&](std::size_t index) {
    const std::size_t begin = values.size() * (index % n) / n, end = values.size() * (index % n + 1) / n;
    return values.subspan(begin, end - begin);
  };
  const int next = static_cast<int>((me + 1) % n), before = static_cast<int>((me + n - 1) % n);
  buffer_.resize((values.size() / n + 1) * sizeof(T));
  const T* other = reinterpret_cast<const T*>(buffer_.data());
  // Piece k starts at rank k and is whole at rank k - 1 after n - 1 hops.
  for (std::size_t hop = 0; hop + 1 < n; ++hop) {
    const std::span<T> out = piece(me + n - hop), in = piece(me + 2 * n - hop - 1);
    exchange(next, out.data(), out.size_bytes(), before, buffer_.data(), in.size_bytes());
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = other[i] + in[i];
  }
  for (std::size_t hop = 0; hop + 1 < n; ++hop) {
    const std::span<T> out = piece(me + 1 + n - hop), in = piece(me + n - hop);
    exchange(next, out.data(), out.size_bytes(), before, in.data(), in.size_bytes());
  }
}

template <class T>
void RankReducer::reduce(std::span<T> values) {
  const double start = now();
  ++entered_;
  if (ranks_ == 2)
    pair(values);
  else if (values.size_bytes() <= short_bytes)
    star(values);
  else
    ring(values);
  ++traffic_.sums;
  traffic_.seconds += now() - start;
}

kernels::runtime::Collective& RankReducer::on(Device device) {
  ++entered_;  // whoever asks is about to sum
  if (!collective_) collective_ = std::make_unique<HostCollective>(*this, device);
  return *collective_;
}

Traffic RankReducer::traffic() const {
  Traffic all = traffic_;
  if (beside_) all.bytes += beside_->traffic_.bytes, all.sums += beside_->traffic_.sums;
  return all;
}

void RankReducer::sum(std::span<double> values) {
  reduce(values);
}
void RankReducer::sum(std::span<float> values) {
  reduce(values);
}

}  // namespace rtfq::ranks
