#include "training/gradient_exchange.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <unordered_map>

namespace rtfq {
namespace {

constexpr std::size_t bucket_elements = std::size_t{1} << 18;
/// Of gradients that the last pass does not add to.
constexpr std::size_t unread = std::numeric_limits<std::size_t>::max();

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

GradientExchange::GradientExchange(std::span<Parameter* const> parameters, Reducer& reducer, bool overlap)
    : parameters_(parameters),
      reducer_(reducer),
      device_(parameters.empty() ? Device{} : parameters.front()->gradient.device()),
      beside_(overlap && device_.backend == Backend::cpu ? reducer.beside() : nullptr) {}

GradientExchange::~GradientExchange() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    last_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void GradientExchange::fill_buckets(std::vector<Piece> pieces) {
  // Backward comes to the last nodes first.
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.node > b.node; });
  std::size_t room = 0;
  for (Piece piece : pieces)
    while (piece.count > 0) {
      if (room == 0) buckets_.emplace_back(), room = bucket_elements;
      const std::size_t count = std::min(room, piece.count);
      buckets_.back().pieces.push_back({piece.at, count, piece.node});
      buckets_.back().node = piece.node;
      piece.at += count, piece.count -= count, room -= count;
    }
}

void GradientExchange::begins(std::span<const Read> reads) {
  if (begun_) throw std::logic_error("[ranks] gradients are exchanged once a step");
  begun_ = true;
  if (device_.backend != Backend::cpu) return;
  std::unordered_map<const Parameter*, const Read*> found;
  for (const Read& read : reads) found[read.parameter] = &read;
  std::vector<Piece> pieces;
  for (const Parameter* p : parameters_) {
    if (!p->touched) continue;
    float* at = p->gradient.as<float>();
    const auto all = static_cast<std::size_t>(p->gradient.count());
    const auto read = found.find(p);
    const std::size_t leading = read == found.end() ? 0
                                                    : all / static_cast<std::size_t>(p->gradient.dim(0)) *
                                                          static_cast<std::size_t>(read->second->rows);
    if (leading > 0) pieces.push_back({at, leading, read->second->node});
    if (leading < all) pieces.push_back({at + leading, all - leading, unread});
  }
  fill_buckets(std::move(pieces));
  if (!beside_ || buckets_.empty()) return;
  thread_ = std::thread([this] { work(); });
  release(unread);
}

void GradientExchange::has_run(std::size_t node) {
  if (thread_.joinable()) release(node);
}

/// Buckets to which no operation before `node` adds may go.
void GradientExchange::release(std::size_t node) {
  std::size_t count = ready_;  // written by this thread alone
  while (count < buckets_.size() && buckets_[count].node >= node) ++count;
  if (count == ready_) return;
  {
    const std::lock_guard lock(mutex_);
    ready_ = count;
  }
  changed_.notify_one();
}

void GradientExchange::sum(const Bucket& bucket, Reducer& over) {
  std::size_t count = 0;
  for (const Piece& piece : bucket.pieces) count += piece.count;
  values_.resize(count);
  float* value = values_.data();
  for (const Piece& piece : bucket.pieces) {
    std::copy_n(piece.at, piece.count, value);
    value += piece.count;
  }
  over.sum(std::span<float>(values_));
  value = values_.data();
  for (const Piece& piece : bucket.pieces) {
    std::copy_n(value, piece.count, piece.at);
    value += piece.count;
  }
}

void GradientExchange::work() {
  double busy = 0;
  try {
    for (std::size_t next = 0;; ++next) {
      {
        std::unique_lock lock(mutex_);
        busy_ = busy;
        changed_.wait(lock, [&] { return next < ready_ || last_; });
        if (next >= ready_) return;
      }
      const double start = now();
      sum(buckets_[next], *beside_);
      busy += now() - start;
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
  }
}

void GradientExchange::sum_on_device() {
  std::vector<kernels::runtime::Floats> all;
  for (const Parameter* p : parameters_)
    if (p->touched) all.push_back({p->gradient.as<float>(), static_cast<std::size_t>(p->gradient.count())});
  reducer_.on(device_).sum(all, compute_stream(device_));
}

void GradientExchange::finish() {
  if (device_.backend != Backend::cpu) {
    sum_on_device();
    return;
  }
  if (!begun_) begins({});
  if (!thread_.joinable()) {
    for (const Bucket& bucket : buckets_) sum(bucket, reducer_);
    return;
  }
  const double start = now();
  {
    const std::lock_guard lock(mutex_);
    ready_ = buckets_.size();
    last_ = true;
  }
  changed_.notify_one();
  thread_.join();
  waited_ = now() - start;
  if (error_) std::rethrow_exception(error_);
  overlapped_ = std::max(0.0, busy_ - waited_);
}

}  // namespace rtfq
