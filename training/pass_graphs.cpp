#include "training/pass_graphs.h"

#include <map>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "engine/reducer.h"
#include "kernels/runtime/stream.h"

namespace rtfq {
namespace {

using kernels::runtime::Graph;

/// All that a recorded pass depends on, besides the contents of memory and the configuration.
using Key = std::tuple<std::string, Role, int64_t, int64_t, bool, double>;

Key key_of(const PassInput& pass) {
  return {id(pass.plan.subnet), pass.plan.role,        pass.source_rows(),
          pass.target_rows(),   pass.higher.defined(), pass.ramp};
}

bool looks_at_other_steps(const LossConfig& loss) {
  return loss.information > 0 && (loss.information_average > 0 || loss.information_prior == "teacher");
}

/// A recorded pass. What it reads and writes besides the network is memory of its own, outside the arena,
/// whose blocks other passes use in between.
struct Recorded {
  Graph graph;
  PassInput input;
  Tensor losses, right, logits;
  std::optional<PassLoss> loss;  ///< which terms there are
  Tape::HostChanges changes;
};

Tensor place_for(const Tensor& other) {
  return other.defined() ? Tensor::empty(other.dims(), other.dtype(), other.device()) : Tensor();
}

void copy(const Tensor& from, const Tensor& into) {
  if (from.defined()) into.copy_from(from);
}

}  // namespace

struct PassGraphs::State {
  State(Supernet& s, const Config& c) : student(s), config(c), arena(s.device()) {}

  Tensor place_for_logits(const PassInput& pass) const {
    return Tensor::empty({pass.images.dim(0), student.options().classes}, DType::f32, student.device());
  }
  PassLoss run_once(const PassInput&, const Tensor& losses, float* right, const Tensor& logits,
                    Tape::HostChanges*);
  void record(const PassInput&, Recorded&);
  PassResult launch(const Recorded&, const PassInput&, const Tensor& losses, float* right);

  Supernet& student;
  const Config& config;
  memory::Arena arena;
  std::map<std::pair<int64_t, int64_t>, Tensor> images;  ///< what graphs read, by count and resolution
  std::map<Key, std::unique_ptr<Recorded>> passes;       ///< null: it has come once
  std::size_t graphs = 0;
  int64_t launches = 0;
};

/// In the arena, and afterwards nothing of it is in use, so that all passes may have the same blocks.
PassLoss PassGraphs::State::run_once(const PassInput& pass, const Tensor& losses, float* right,
                                     const Tensor& logits, Tape::HostChanges* changes) {
  std::optional<PassLoss> loss;
  {
    const memory::Arena::Scope scope(arena);
    PassResult result = run_pass(student, config, pass, losses, right, changes);
    logits.copy_from(result.logits);
    loss = std::move(result.loss);
    loss->let_go();
  }
  if (const std::size_t held = arena.in_use())
    throw std::logic_error("[graphs] " + std::to_string(held) + " bytes of a pass of " +
                           id(pass.plan.subnet) + " are in use after it: it cannot be a graph");
  return std::move(*loss);
}

void PassGraphs::State::record(const PassInput& pass, Recorded& recorded) {
  PassInput& own = recorded.input;
  own = pass;
  own.shares = nullptr;
  Tensor& shared = images[{pass.images.dim(0), pass.images.dim(1)}];
  if (!shared.defined()) shared = place_for(pass.images);
  own.images = shared;
  own.labels = place_for(pass.labels);
  own.teaching = place_for(pass.teaching);
  own.pseudo_labels = place_for(pass.pseudo_labels);
  own.higher = place_for(pass.higher);
  recorded.losses = Tensor::empty({PassLoss::most_terms}, DType::f32, student.device());
  recorded.right = Tensor::empty({1}, DType::f32, student.device());
  recorded.logits = place_for_logits(pass);

  const Stream stream = student.stream();
  Graph::begin_capture(stream);
  try {
    recorded.loss =
        run_once(own, recorded.losses, recorded.right.as<float>(), recorded.logits, &recorded.changes);
    recorded.graph = Graph::end_capture(stream);
  } catch (...) {
    Graph::abandon_capture(stream);
    throw;
  }
  ++graphs;
}

PassResult PassGraphs::State::launch(const Recorded& recorded, const PassInput& pass, const Tensor& losses,
                                     float* right) {
  const PassInput& own = recorded.input;
  copy(pass.images, own.images);
  copy(pass.labels, own.labels);
  copy(pass.teaching, own.teaching);
  copy(pass.pseudo_labels, own.pseudo_labels);
  copy(pass.higher, own.higher);
  const Stream stream = student.stream();
  recorded.graph.launch(stream);
  ++launches;
  losses.copy_from(recorded.losses);
  if (pass.plan.role == Role::largest)
    kernels::runtime::copy(right, stream.device, recorded.right.data(), stream.device, sizeof *right, stream);
  const Tensor logits = place_for_logits(pass);  // the same graph may come again before they are read
  logits.copy_from(recorded.logits);
  return {logits, *recorded.loss};
}

PassGraphs::PassGraphs(Supernet& student, const Config& config) {
  if (student.device().backend == Backend::cpu)
    throw std::invalid_argument("[graphs] the cpu has no graphs: set device=cuda or simt, or graphs=false");
  state_ = std::make_unique<State>(student, config);
}

PassGraphs::~PassGraphs() = default;

PassResult PassGraphs::run(const PassInput& pass, const Tensor& losses, float* right) {
  State& s = *state_;
  if (reducer().ranks() > 1 || looks_at_other_steps(s.config.loss))
    return run_pass(s.student, s.config, pass, losses, right);
  const Key key = key_of(pass);
  const auto found = s.passes.find(key);
  if (found == s.passes.end()) {
    // First step sizes and the like come from the host, which a recording could not read.
    Tensor logits = s.place_for_logits(pass);
    PassLoss loss = s.run_once(pass, losses, right, logits, nullptr);
    s.passes.emplace(key, nullptr);
    return {std::move(logits), std::move(loss)};
  }
  if (found->second) {
    for (const auto& change : found->second->changes) change();
  } else {
    auto recorded = std::make_unique<Recorded>();
    s.record(pass, *recorded);
    found->second = std::move(recorded);
  }
  return s.launch(*found->second, pass, losses, right);
}

std::size_t PassGraphs::graphs() const {
  return state_->graphs;
}
int64_t PassGraphs::launches() const {
  return state_->launches;
}

}  // namespace rtfq
