#pragma once
// A tape: operations append what their gradient needs, backward() walks it from the end and frees as it goes.
// A tape that does not record saves nothing.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace rtfq {

enum class ParameterKind { weight, norm, bias, step };

/// A trainable tensor with its gradient. Gradients accumulate over passes until the optimizer zeroes them.
struct Parameter {
  std::string name;
  ParameterKind kind = ParameterKind::weight;
  Tensor value;
  Tensor gradient;       ///< same dims, zero between steps
  Tensor momentum;       ///< the optimizer's
  bool touched = false;  ///< a recorded pass used it since the last optimizer step
  double rate = 1.0;     ///< factor on the learning rate

  Parameter(std::string name_, ParameterKind kind_, Tensor value_);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  /// Of a step size: whether it has its first value (it is positive). On a device the answer is remembered,
  /// so that no pass waits for it.
  bool started() const;
  /// A first value has been given.
  void start() { started_ = true; }
  /// Another value has been loaded: started() looks again.
  void forget_start() { started_.reset(); }
  /// Value, gradient and momentum are on `device` from now on.
  void move_to(Device device);

 private:
  mutable std::optional<bool> started_;
};

/// A tensor in a computation. Its gradient goes to a node of the tape, or straight into `sink`, a view of a
/// parameter's gradient into which operations accumulate; neither: a constant.
struct Variable {
  Tensor data;
  int node = -1;
  Tensor sink;

  bool needs_gradient() const { return node >= 0 || sink.defined(); }
};

/// Where a variable's gradient goes, without keeping its value alive: for operations whose gradient does not
/// need it.
struct Gradient {
  int node;
  Dims dims;
  explicit Gradient(const Variable& of) : node(of.node), dims(of.data.dims()) {}
};

/// Is told how far the backward of a tape has got, so that gradients can leave while others are computed.
class BackwardWatch {
 public:
  /// A parameter that the tape's operations read.
  struct Read {
    Parameter* parameter;
    int64_t rows;      ///< of its gradient's first dimension, the leading ones: the others are left alone
    std::size_t node;  ///< no operation before this one reads it
  };
  virtual ~BackwardWatch() = default;
  /// Backward begins; `reads` is in order of nodes.
  virtual void begins(std::span<const Read> reads) = 0;
  /// The operations from `node` on have added to their gradients.
  virtual void has_run(std::size_t node) = 0;
};

class Tape {
 public:
  /// What operations change on the host, to be done again when the device's part of them is (as a graph).
  using HostChanges = std::vector<std::function<void()>>;

  /// `changes`: where on_host() notes them; null: nowhere.
  explicit Tape(bool recording, Stream stream = {}, HostChanges* changes = nullptr)
      : recording_(recording), stream_(stream), changes_(changes) {}

  /// Before the first leaf; it must outlive backward().
  void tell(BackwardWatch* watch) { watch_ = watch; }

  bool recording() const { return recording_; }
  Stream stream() const { return stream_; }

  static Variable constant(Tensor data) { return {std::move(data), -1, {}}; }
  /// The parameter, or the leading `k` and `c` channels of a KRSC weight, as a view; marks it touched when
  /// recording.
  Variable leaf(Parameter& parameter) const;
  Variable leaf(Parameter& weight, int64_t k, int64_t c) const;

  /// Does `change`, which an operation makes on the host besides its launches, and notes it.
  template <class Change>
  void on_host(Change change) const {
    change();
    if (changes_) changes_->push_back(change);
  }

  using Backward = std::function<void(Tape&, const Tensor& gradient)>;
  /// Appends an operation with result `data`; `backward` gets dL/d(data) and calls accumulate() for its
  /// inputs. When the tape does not record or no input needs a gradient, nothing is kept.
  Variable record(Tensor data, bool inputs_need_gradient, Backward backward);

  /// An operation with two results: `backward` gets the gradients of both once all their readers have run.
  /// One of them is undefined when nothing came back for it.
  using PairBackward = std::function<void(Tape&, const Tensor& first, const Tensor& second)>;
  std::pair<Variable, Variable> record(Tensor first, Tensor second, bool inputs_need_gradient,
                                       PairBackward backward);

  /// Adds to the gradient of `of`; takes over `gradient` when it is the first. Only during backward().
  void accumulate(const Gradient& of, Tensor gradient);
  void accumulate(const Variable& of, Tensor gradient) { accumulate(Gradient(of), std::move(gradient)); }

  /// Runs the gradients from dL/d(output) and empties the tape.
  void backward(const Variable& output, Tensor gradient);

 private:
  struct Node {
    Backward backward;
    PairBackward
        pair;  ///< instead of `backward`: the first of two results; the second's node is the next, empty one
    Tensor gradient;
  };
  void note_read(Parameter& parameter, int64_t rows) const;

  bool recording_;
  Stream stream_;
  HostChanges* changes_;
  std::vector<Node> nodes_;
  BackwardWatch* watch_ = nullptr;
  mutable std::vector<BackwardWatch::Read> reads_;  ///< where somebody watches
  mutable std::unordered_map<const Parameter*, std::size_t> read_at_;
};

}  // namespace rtfq
