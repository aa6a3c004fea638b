#include "kernels/runtime/stream.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "kernels/runtime/cuda.h"
#include "kernels/simt/executor.h"

namespace rtfq::kernels::runtime {
namespace {

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

simt::Stream& simt_stream(Stream stream, const char* what) {
  if (!stream.handle)
    throw std::invalid_argument(std::string("[stream] ") + what +
                                " needs a stream of its own: create_stream");
  return *static_cast<simt::Stream*>(stream.handle);
}

}  // namespace

Stream create_stream(Device device) {
  switch (device.backend) {
    case Backend::cpu:
      return {device, nullptr};
    case Backend::simt:
      return {device, new simt::Stream};
    case Backend::cuda:
      return {device, cuda_create_stream(device)};
  }
  throw std::logic_error("[stream] unknown backend");
}

void destroy_stream(Stream stream) noexcept {
  if (!stream.handle) return;
  if (stream.device.backend == Backend::simt) delete static_cast<simt::Stream*>(stream.handle);
  if (stream.device.backend == Backend::cuda) cuda_destroy_stream(stream);
}

struct Event::State {
  Device device;
  void* cuda = nullptr;
  simt::Event simt;
  Stream recorded_in;
  std::shared_ptr<double> time = std::make_shared<double>(0);  ///< when a CPU or the executor got there

  explicit State(Device d) : device(d), recorded_in{d, nullptr} {
    if (d.backend == Backend::cuda) cuda = cuda_create_event(d);
  }
  ~State() {
    if (cuda) cuda_destroy_event(device, cuda);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Event::Event(Device device) : state_(std::make_unique<State>(device)) {}
Event::~Event() = default;
Event::Event(Event&&) noexcept = default;
Event& Event::operator=(Event&&) noexcept = default;

void Event::record(Stream stream) {
  State& s = *state_;
  s.recorded_in = stream;
  if (s.cuda) return cuda_record(s.device, s.cuda, stream);
  if (s.device.backend == Backend::simt && stream.handle) {
    s.time = std::make_shared<double>(0);
    auto& queue = *static_cast<simt::Stream*>(stream.handle);
    queue.submit([time = s.time] { *time = now(); });
    queue.record(s.simt);
    return;
  }
  runtime::synchronize(stream);
  *s.time = now();
}

void Event::hold(Stream stream) const {
  const State& s = *state_;
  if (s.cuda) return cuda_hold(s.cuda, stream);
  if (s.device.backend == Backend::simt && stream.handle)
    static_cast<simt::Stream*>(stream.handle)->wait(s.simt);
}

void Event::synchronize() const {
  const State& s = *state_;
  if (s.cuda) return cuda_synchronize_event(s.device, s.cuda);
  if (!s.simt.recorded()) runtime::synchronize(s.recorded_in);
}

float Event::elapsed(const Event& begin, const Event& end) {
  end.synchronize();
  if (begin.state_->cuda) return cuda_elapsed(begin.state_->device, begin.state_->cuda, end.state_->cuda);
  return static_cast<float>(*end.state_->time - *begin.state_->time);
}

struct Graph::State {
  void* cuda = nullptr;
  simt::Graph simt;
  ~State() {
    if (cuda) cuda_destroy_graph(cuda);
  }
};

Graph::Graph() = default;
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::begin_capture(Stream stream) {
  if (stream.device.backend == Backend::cpu)
    throw std::invalid_argument("[graph] the cpu has no graphs: they are for cuda and simt");
  if (stream.device.backend == Backend::cuda) return cuda_begin_capture(stream);
  simt_stream(stream, "a capture").begin_capture();
}

Graph Graph::end_capture(Stream stream) {
  Graph graph;
  graph.state_ = std::make_unique<State>();
  if (stream.device.backend == Backend::cuda)
    graph.state_->cuda = cuda_end_capture(stream);
  else
    graph.state_->simt = simt_stream(stream, "a capture").end_capture();
  return graph;
}

void Graph::abandon_capture(Stream stream) noexcept {
  if (stream.device.backend == Backend::cuda) return cuda_abandon_capture(stream);
  try {
    simt_stream(stream, "a capture").end_capture();
  } catch (const std::exception&) {  // it had not begun
  }
}

void Graph::launch(Stream stream) const {
  if (!state_) throw std::logic_error("[graph] expected a captured graph, got an empty one");
  if (stream.device.backend == Backend::cuda) return cuda_launch_graph(state_->cuda, stream);
  simt_stream(stream, "a graph").launch(state_->simt);
}

}  // namespace rtfq::kernels::runtime
