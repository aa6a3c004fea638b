#include "training/gradient_exchange.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <unordered_map>

namespace rtfq {
namespace {

constexpr std::size_t bucket_elements = std::size_t{1} << 18;
/// Of gradients to which no operation of the last pass adds.
constexpr std::size_t unread = std::numeric_limits<std::size_t>::max();

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

GradientExchange::GradientExchange(std::span<Parameter* const> parameters, Reducer& reducer, bool overlap,
                                   std::size_t passes, Reach reach)
    : parameters_(parameters),
      reducer_(reducer),
      device_(parameters.empty() ? Device{} : parameters.front()->gradient.device()),
      beside_(overlap && device_.backend == Backend::cpu ? reducer.beside() : nullptr),
      passes_(passes),
      reach_(std::move(reach)) {
  for (const Parameter* p : parameters_) left_.push_back(p->gradient.dim(0));
}

int64_t GradientExchange::reach(std::size_t pass, const Parameter& p) const {
  return reach_ ? reach_(pass, p) : p.gradient.dim(0);
}

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
  const std::lock_guard lock(mutex_);
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

void GradientExchange::start() {
  if (!beside_ || buckets_.empty()) return;
  if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  release(unread);
}

void GradientExchange::pass_done() {
  if (device_.backend != Backend::cpu) return;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = *parameters_[i];
    int64_t later = 0;
    for (std::size_t pass = pass_ + 1; pass < passes_; ++pass) later = std::max(later, reach(pass, p));
    if (later >= left_[i]) continue;
    const int64_t row = p.gradient.count() / p.gradient.dim(0);
    // What no pass has touched by now stays zero on all ranks.
    if (p.touched)
      pieces.push_back(
          {p.gradient.as<float>() + later * row, static_cast<std::size_t>((left_[i] - later) * row), unread});
    left_[i] = later;
  }
  ++pass_;
  fill_buckets(std::move(pieces));
  start();
}

void GradientExchange::begins(std::span<const Read> reads) {
  if (begun_) throw std::logic_error("[ranks] gradients are exchanged once a step");
  if (device_.backend != Backend::cpu) return;
  for (const Read& read : reads)
    if (read.rows > reach(pass_, *read.parameter))
      throw std::logic_error("[ranks] pass " + std::to_string(pass_ + 1) + " reads " +
                             std::to_string(read.rows) + " rows of " + read.parameter->name +
                             ", but was to leave alone what is behind " +
                             std::to_string(reach(pass_, *read.parameter)));
  if (pass_ + 1 < passes_) return;
  begun_ = true;
  std::unordered_map<const Parameter*, const Read*> found;
  for (const Read& read : reads) found[read.parameter] = &read;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = *parameters_[i];
    if (!p.touched) continue;
    float* at = p.gradient.as<float>();
    const int64_t row = p.gradient.count() / p.gradient.dim(0);
    const auto read = found.find(&p);
    const int64_t rows = read == found.end() ? 0 : read->second->rows;
    if (rows > 0) pieces.push_back({at, static_cast<std::size_t>(rows * row), read->second->node});
    if (rows < left_[i])
      pieces.push_back({at + rows * row, static_cast<std::size_t>((left_[i] - rows) * row), unread});
  }
  fill_buckets(std::move(pieces));
  start();
}

void GradientExchange::has_run(std::size_t node) {
  if (begun_ && thread_.joinable()) release(node);
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
      const Bucket* bucket = nullptr;
      {
        std::unique_lock lock(mutex_);
        busy_ = busy;
        changed_.wait(lock, [&] { return next < ready_ || last_; });
        if (next >= ready_) return;
        bucket = &buckets_[next];  // stays where it is when others are added
      }
      const double start = now();
      sum(*bucket, *beside_);
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
  if (!begun_) {
    pass_ = passes_ - 1;
    begins({});
  }
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
