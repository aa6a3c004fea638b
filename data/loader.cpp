#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "data/color.h"
#include "data/image_store.h"
#include "data/order.h"

namespace rtfq::data {
namespace {

/// Items that a worker takes at a time: few enough to share a batch, enough to make the lock unimportant.
constexpr int max_chunk = 8;

LoaderOptions checked(const Dataset& dataset, LoaderOptions o) {
  const auto expect = [&](bool condition, const std::string& what) {
    if (!condition) throw std::invalid_argument("[data] loader of " + dataset.origin + ": " + what);
  };
  expect(!dataset.samples.empty(), "the data set has no images");
  expect(dataset.samples.size() <= std::numeric_limits<uint32_t>::max(), "more than 2^32 - 1 images");
  expect(o.batch >= 1, "batch must be positive, got " + std::to_string(o.batch));
  expect(o.channels == 1 || o.channels == 3, "channels must be 1 or 3, got " + std::to_string(o.channels));
  expect(o.stream < 256, "stream must be below 256, got " + std::to_string(o.stream));
  expect(o.threads >= 0 && o.threads <= 256,
         "threads must be within 0 and 256, got " + std::to_string(o.threads));
  expect(o.ranks >= 1 && o.rank >= 0 && o.rank < o.ranks,
         "rank " + std::to_string(o.rank) + " of " + std::to_string(o.ranks) + " ranks");
  expect(o.training || !o.plain_view, "evaluation's images are plain already");
  check(o.augmentation, o.resolution);
  return o;
}

Preparation preparation_of(const LoaderOptions& o) {
  return {o.channels, o.decoding, o.augmentation};
}

std::shared_ptr<PreparedCache> cache_of(const Dataset& dataset, const LoaderOptions& o) {
  if (o.cache_folder.empty()) return nullptr;
  return PreparedCache::open(o.cache_folder, dataset.origin, dataset.samples, preparation_of(o), o.threads,
                             o.say);
}

}  // namespace

struct Loader::State {
  /// One batch in the making. Everything but the pixels of claimed items is guarded by State::mutex.
  struct Slot {
    uint64_t step = 0, position = 0;  ///< position: of the first item in the endless order
    Batch batch;
    int claimed = 0, finished = 0;
    std::vector<char> good;     ///< per item; zero: dropped
    std::vector<uint32_t> bad;  ///< samples that failed on the way
    std::exception_ptr error;   ///< of the first item that failed
    int error_item = 0;
    bool cancelled = false;
    bool done() const { return finished == batch.n; }
  };

  Dataset dataset;
  LoaderOptions options;
  bool labelled;
  ImageStore store;
  EpochOrder order;
  uint64_t step = 0;
  double waited = 0;
  std::set<uint32_t> skipped;

  std::mutex mutex;
  std::condition_variable work, ready;
  std::deque<std::shared_ptr<Slot>> window;  ///< consecutive steps from `step` on
  bool stopping = false;
  std::vector<std::thread> threads;

  State(Dataset d, LoaderOptions o)
      : dataset(std::move(d)),
        options(checked(dataset, std::move(o))),
        labelled(dataset.labelled()),
        store(dataset.samples, preparation_of(options), options.cache_bytes, cache_of(dataset, options)),
        order(options.seed, options.stream, static_cast<uint32_t>(dataset.samples.size())) {
    try {
      for (int i = 0; i < options.threads; ++i) threads.emplace_back([this] { serve(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      for (const auto& slot : window) slot->cancelled = true;
    }
    work.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  uint64_t first_position(uint64_t at) const {
    const uint64_t batches = at * static_cast<uint64_t>(options.ranks) + static_cast<uint64_t>(options.rank);
    return batches * static_cast<uint64_t>(options.batch);
  }

  int64_t batches() const {
    const int64_t count = static_cast<int64_t>(dataset.samples.size()), batch = options.batch,
                  ranks = options.ranks;
    if (options.training) return (count + batch * ranks - 1) / (batch * ranks);
    const int64_t all = (count + batch - 1) / batch;
    return std::max<int64_t>(0, (all - options.rank + ranks - 1) / ranks);
  }

  std::shared_ptr<Slot> make_slot(uint64_t at) {
    auto slot = std::make_shared<Slot>();
    slot->step = at;
    slot->position = first_position(at);
    const uint64_t count = dataset.samples.size();
    int n = options.batch;
    if (!options.training)
      n = slot->position >= count
              ? 0
              : static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(n), count - slot->position));
    Batch& b = slot->batch;
    b.n = n;
    b.height = b.width = options.resolution;
    b.channels = options.channels;
    b.pixels.resize(static_cast<size_t>(n) * image_bytes());
    if (options.plain_view) b.plain.resize(b.pixels.size());
    b.indices.resize(static_cast<size_t>(n));
    for (size_t i = 0; i < b.indices.size(); ++i)
      b.indices[i] =
          options.training ? order.at(slot->position + i) : static_cast<uint32_t>(slot->position + i);
    slot->good.assign(static_cast<size_t>(n), 0);
    return slot;
  }

  size_t image_bytes() const {
    return static_cast<size_t>(options.resolution) * static_cast<size_t>(options.resolution) *
           static_cast<size_t>(options.channels);
  }

  /// Fills one item. `index` comes in as the sample of the order and leaves as the sample that was used.
  bool fill(Slot& slot, int item, uint32_t& index, std::vector<uint32_t>& bad) {
    const size_t offset = static_cast<size_t>(item) * image_bytes();
    const auto count = static_cast<uint32_t>(dataset.samples.size());
    for (uint32_t tries = 0;; ++tries) {
      std::shared_ptr<const Image> image;
      try {
        image = store.get(index);
      } catch (const std::runtime_error&) {
        if (options.bad_images == BadImages::error) throw;
        bad.push_back(index);
        if (!options.training) return false;
        if (tries + 1 == count) throw;
        index = (index + 1) % count;
        continue;
      }
      Image out;
      if (options.training && options.augmented) {
        Random random(options.seed, Purpose::augmentation, slot.position + static_cast<uint64_t>(item),
                      options.stream);
        // Streams are below 256: colours have numbers of their own, so that placements do not depend on them.
        Random colours(options.seed, Purpose::augmentation, slot.position + static_cast<uint64_t>(item),
                       256 + options.stream);
        out =
            place(*image, draw(options.augmentation, image->height, image->width, options.resolution, random),
                  options.resolution, options.augmentation.bicubic);
        change_colours(out, options.augmentation, colours);
      } else {
        out = prepare_standardized(*image, options.augmentation, options.resolution);
      }
      std::memcpy(slot.batch.pixels.data() + offset, out.pixels.data(), image_bytes());
      if (options.plain_view) {
        const Image plain = prepare_standardized(*image, options.augmentation, options.resolution);
        std::memcpy(slot.batch.plain.data() + offset, plain.pixels.data(), image_bytes());
      }
      return true;
    }
  }

  /// Claims the next items of the earliest open slot and fills them with the lock released. False: nothing to
  /// do.
  bool work_once(std::unique_lock<std::mutex>& lock) {
    std::shared_ptr<Slot> slot;
    for (const auto& candidate : window)
      if (candidate->claimed < candidate->batch.n) {
        slot = candidate;
        break;
      }
    if (!slot) return false;
    const int share = slot->batch.n / (2 * std::max(1, options.threads));
    const int begin = slot->claimed, end = std::min(slot->batch.n, begin + std::clamp(share, 1, max_chunk));
    slot->claimed = end;
    for (int item = begin; item < end && !slot->cancelled; ++item) {
      const size_t i = static_cast<size_t>(item);
      uint32_t index = slot->batch.indices[i];
      std::vector<uint32_t> bad;
      bool good = false;
      std::exception_ptr error;
      lock.unlock();
      try {
        good = fill(*slot, item, index, bad);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      slot->batch.indices[i] = index;
      slot->good[i] = good;
      slot->bad.insert(slot->bad.end(), bad.begin(), bad.end());
      if (error && (!slot->error || item < slot->error_item)) {
        slot->error = error;
        slot->error_item = item;
      }
    }
    slot->finished += end - begin;
    if (slot->done()) ready.notify_all();
    return true;
  }

  void serve() {
    std::unique_lock lock(mutex);
    while (!stopping)
      if (!work_once(lock)) work.wait(lock);
  }

  /// Keeps the window full: the current batch and one a thread, at least two, ahead of it.
  void extend() {
    const size_t depth = threads.empty() ? 1 : 1 + static_cast<size_t>(std::clamp(options.threads, 2, 4));
    while (window.size() < depth) {
      const uint64_t at = step + window.size();
      if (!options.training && at >= std::max<uint64_t>(static_cast<uint64_t>(batches()), step + 1)) break;
      window.push_back(make_slot(at));
    }
  }

  /// Removes dropped items and attaches labels.
  void finish(Slot& slot) {
    Batch& b = slot.batch;
    size_t kept = 0;
    for (size_t i = 0; i < slot.good.size(); ++i) {
      if (!slot.good[i]) continue;
      if (kept != i) {
        std::memcpy(b.pixels.data() + kept * image_bytes(), b.pixels.data() + i * image_bytes(),
                    image_bytes());
        b.indices[kept] = b.indices[i];
      }
      ++kept;
    }
    b.n = static_cast<int>(kept);
    b.pixels.resize(kept * image_bytes());
    b.indices.resize(kept);
    if (labelled)
      for (const uint32_t index : b.indices) b.labels.push_back(dataset.samples[index].label);
    skipped.insert(slot.bad.begin(), slot.bad.end());
  }
};

Loader::Loader(Dataset dataset, LoaderOptions options)
    : state_(std::make_unique<State>(std::move(dataset), std::move(options))) {}
Loader::~Loader() = default;

Batch Loader::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.extend();
  s.work.notify_all();
  const std::shared_ptr<State::Slot> slot = s.window.front();
  const auto begin = std::chrono::steady_clock::now();
  if (s.threads.empty())
    while (!slot->done()) s.work_once(lock);
  else
    s.ready.wait(lock, [&] { return slot->done(); });
  s.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (slot->error) std::rethrow_exception(slot->error);
  s.window.pop_front();
  ++s.step;
  // The room that this batch leaves is filled while the caller works on it.
  if (!s.threads.empty()) {
    s.extend();
    s.work.notify_all();
  }
  lock.unlock();
  s.finish(*slot);
  return std::move(slot->batch);
}

void Loader::seek(uint64_t step) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  while (!s.window.empty() && s.window.front()->step != step) {
    s.window.front()->cancelled = true;
    s.window.pop_front();
  }
  s.step = step;
}

uint64_t Loader::step() const {
  return state_->step;
}
int64_t Loader::steps_per_epoch() const {
  return state_->batches();
}
int64_t Loader::skipped() const {
  return static_cast<int64_t>(state_->skipped.size());
}
double Loader::wait_seconds() const {
  return state_->waited;
}
const Dataset& Loader::dataset() const {
  return state_->dataset;
}

}  // namespace rtfq::data
