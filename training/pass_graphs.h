#pragma once
// The passes of a step as graphs: a subnet that comes again is launched as one, instead of its hundreds of
// kernels one by one.

#include <memory>

#include "training/pass.h"

namespace rtfq {

/// Graphs of `student`'s passes on its device. The first time that a subnet comes in a role, with as many
/// images and the same factor on its losses, its pass runs as always, the second time it is recorded, and from
/// then on launched. Where several ranks join their statistics, passes stay without graphs. Bits are those of
/// run_pass.
class PassGraphs {
 public:
  /// Both must outlive it. Throws std::invalid_argument on the cpu, which has no graphs.
  PassGraphs(Supernet& student, const Config&);
  ~PassGraphs();
  PassGraphs(const PassGraphs&) = delete;
  PassGraphs& operator=(const PassGraphs&) = delete;

  /// As rtfq::run_pass. The losses of the result have to be told what `losses` holds (PassLoss::read).
  PassResult run(const PassInput&, const Tensor& losses, float* right);

  /// How many graphs there are, and how many passes were launched by one.
  std::size_t graphs() const;
  int64_t launches() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace rtfq
