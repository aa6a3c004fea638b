#pragma once
// Streams, events and graphs: the order of work on a device. On the CPU everything runs when it is asked for,
// so that an event is a point in time and a graph cannot be.

#include <memory>

#include "kernels/runtime/device.h"

namespace rtfq::kernels::runtime {

/// A stream of its own, which nothing else orders (on cuda: it does not wait for the default stream either).
/// The CPU's is the CPU. On simt it belongs to the thread that made it.
Stream create_stream(Device);
/// What is queued still runs.
void destroy_stream(Stream) noexcept;

/// A point in a stream.
class Event {
 public:
  explicit Event(Device);
  ~Event();
  Event(Event&&) noexcept;
  Event& operator=(Event&&) noexcept;

  void record(Stream);
  /// What is queued on `stream` from now on runs after this point. An event never recorded holds nobody up.
  void hold(Stream stream) const;
  /// Returns when the stream has got here.
  void synchronize() const;
  /// Milliseconds between two recorded events; synchronises with `end`.
  static float elapsed(const Event& begin, const Event& end);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

/// Launches, copies and fills recorded from a stream, to be launched again as one.
class Graph {
 public:
  Graph();
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  /// Until end_capture, what is queued on the stream is recorded and does not run; nothing may be
  /// synchronised or copied to the host. Throws std::invalid_argument for the cpu.
  static void begin_capture(Stream);
  static Graph end_capture(Stream);
  /// Ends a capture whose work failed; what was recorded is dropped.
  static void abandon_capture(Stream) noexcept;
  bool empty() const { return !state_; }
  void launch(Stream) const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace rtfq::kernels::runtime
