// Streams, events and graphs. A stream is a list of tasks that runs when somebody synchronises.
#include <algorithm>
#include <deque>
#include <variant>

#include "kernels/simt/runner.h"

namespace rtfq::simt {
namespace {

struct Record {
  std::shared_ptr<bool> event;
};
struct WaitFor {
  std::shared_ptr<bool> event;
};
using Item = std::variant<Task, Record, WaitFor>;

}  // namespace

struct Stream::Queue {
  std::deque<Item> items;
  bool capturing = false;
  Graph graph;

  bool can_go_on() const {
    if (items.empty()) return false;
    const auto* wait = std::get_if<WaitFor>(&items.front());
    return !wait || *wait->event;
  }
  void step() {
    const Item item = std::move(items.front());
    items.pop_front();
    if (const auto* task = std::get_if<Task>(&item)) (*task)();
    if (const auto* record = std::get_if<Record>(&item)) *record->event = true;
  }
};

namespace {

std::vector<Stream::Queue*>& live_queues() {
  thread_local std::vector<Stream::Queue*> queues;
  return queues;
}

/// Runs tasks of all streams until done() says so; false when none can go on before.
template <class Done>
bool run_until(const Done& done) {
  thread_local uint64_t round = 0;
  Random random(options().seed * 0x2545F491 + ++round);
  while (!done()) {
    std::vector<Stream::Queue*> able;
    for (Stream::Queue* queue : live_queues())
      if (queue->can_go_on()) able.push_back(queue);
    if (able.empty()) return false;
    able[random.below(static_cast<uint32_t>(able.size()))]->step();
  }
  return true;
}

constexpr const char* stuck =
    "streams: nothing can go on: they wait for each other's events, or for an event of a stream that is gone";

}  // namespace

Stream::Stream() : queue_(std::make_shared<Queue>()) {
  live_queues().push_back(queue_.get());
}

/// As CUDA does, what is queued still runs. What fails then has nobody to tell: synchronise first.
Stream::~Stream() {
  try {
    if (!queue_->items.empty()) synchronize();
  } catch (const std::exception&) {
  }
  std::erase(live_queues(), queue_.get());
}

void Stream::submit(Task task) {
  if (queue_->capturing)
    queue_->graph.tasks_.push_back(std::move(task));
  else
    queue_->items.emplace_back(std::move(task));
}

void Stream::record(Event& event) {
  if (queue_->capturing) throw Error("streams: an event cannot be recorded during a capture");
  event.state_ = std::make_shared<bool>(false);
  queue_->items.emplace_back(Record{event.state_});
}

void Stream::wait(const Event& event) {
  if (queue_->capturing) throw Error("streams: a capture cannot wait for an event");
  queue_->items.emplace_back(WaitFor{event.state_});
}

void Stream::synchronize() {
  if (queue_->capturing) throw Error("streams: a capture cannot be synchronised with: end it first");
  if (!run_until([this] { return queue_->items.empty(); })) throw Error(stuck);
}

void Stream::begin_capture() {
  if (queue_->capturing) throw Error("streams: this stream is capturing already");
  queue_->capturing = true;
  queue_->graph = {};
}

Graph Stream::end_capture() {
  if (!queue_->capturing) throw Error("streams: this stream is not capturing");
  queue_->capturing = false;
  return std::move(queue_->graph);
}

void Stream::launch(const Graph& graph) {
  for (const Task& task : graph.tasks_) submit(task);
}

void synchronize() {
  const auto all_empty = [] {
    const auto& queues = live_queues();
    return std::all_of(queues.begin(), queues.end(), [](const auto* queue) { return queue->items.empty(); });
  };
  if (!run_until(all_empty)) throw Error(stuck);
}

}  // namespace rtfq::simt
