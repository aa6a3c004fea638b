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
using Key = std::tuple<std::string, Role, int64_t, int64_t, double, bool, bool, bool>;

Key key_of(const PassInput& pass) {
  return {id(pass.plan.subnet),
          pass.plan.role,
          pass.source_rows(),
          pass.target_rows(),
          pass.ramp,
          pass.higher.defined(),
          pass.shares.student.defined(),
          pass.shares.teacher.defined()};
}

/// Memory for what a pass leaves, outside the arena.
struct Results {
  Tensor losses;  ///< f32 [PassLoss::most_terms]
  float* right;   ///< f32, on the device
  Tensor logits;  ///< f32 [n, k]
  Tensor share;   ///< f32 [k]
};

/// A recorded pass. What it reads and writes besides the network is memory of its own, outside the arena,
/// whose blocks other passes use in between.
struct Recorded {
  Graph graph;
  PassInput input;
  Results results;
  std::optional<PassLoss> loss;  ///< which terms there are
  bool shares = false;           ///< it leaves one
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

  Tensor empty(Dims dims) const { return Tensor::empty(dims, DType::f32, student.device()); }
  Results results_of(const PassInput& pass, const Tensor& losses, float* right) const {
    const int64_t classes = student.options().classes;
    return {losses, right, empty({pass.images.dim(0), classes}), empty({classes})};
  }
  PassResult run_once(const PassInput&, const Results&, Tape::HostChanges*);
  void record(const PassInput&, Recorded&);
  PassResult launch(const Recorded&, const PassInput&, const Results&);

  Supernet& student;
  const Config& config;
  memory::Arena arena;
  std::map<std::pair<int64_t, int64_t>, Tensor> images;  ///< what graphs read, by count and resolution
  std::map<Key, std::unique_ptr<Recorded>> passes;       ///< null: it has come once
  std::size_t graphs = 0;
  int64_t launches = 0;
};

/// In the arena, and afterwards nothing of it is in use, so that all passes may have the same blocks.
PassResult PassGraphs::State::run_once(const PassInput& pass, const Results& results,
                                       Tape::HostChanges* changes) {
  const auto run = [&] {
    const memory::Arena::Scope scope(arena);
    PassResult result = run_pass(student, config, pass, results.losses, results.right, changes);
    results.logits.copy_from(result.logits);
    copy(result.share, results.share);
    result.loss.let_go();
    return PassResult{results.logits, std::move(result.loss),
                      result.share.defined() ? results.share : Tensor()};
  };
  PassResult result = run();
  if (const std::size_t held = arena.in_use())
    throw std::logic_error("[graphs] " + std::to_string(held) + " bytes of a pass of " +
                           id(pass.plan.subnet) + " are in use after it: it cannot be a graph");
  return result;
}

void PassGraphs::State::record(const PassInput& pass, Recorded& recorded) {
  PassInput& own = recorded.input;
  own = pass;
  Tensor& shared = images[{pass.images.dim(0), pass.images.dim(1)}];
  if (!shared.defined()) shared = place_for(pass.images);
  own.images = shared;
  own.labels = place_for(pass.labels);
  own.teaching = place_for(pass.teaching);
  own.pseudo_labels = place_for(pass.pseudo_labels);
  own.higher = place_for(pass.higher);
  own.shares = {place_for(pass.shares.student), place_for(pass.shares.teacher)};
  // One tensor, of which the last is the number that were right.
  const Tensor numbers = empty({PassLoss::most_terms + 1});
  recorded.results =
      results_of(pass, numbers.slice(0, 0, PassLoss::most_terms), numbers.as<float>() + PassLoss::most_terms);

  const Stream stream = student.stream();
  Graph::begin_capture(stream);
  try {
    PassResult result = run_once(own, recorded.results, &recorded.changes);
    recorded.loss = std::move(result.loss);
    recorded.shares = result.share.defined();
    recorded.graph = Graph::end_capture(stream);
  } catch (...) {
    Graph::abandon_capture(stream);
    throw;
  }
  ++graphs;
}

PassResult PassGraphs::State::launch(const Recorded& recorded, const PassInput& pass,
                                     const Results& results) {
  const PassInput& own = recorded.input;
  copy(pass.images, own.images);
  copy(pass.labels, own.labels);
  copy(pass.teaching, own.teaching);
  copy(pass.pseudo_labels, own.pseudo_labels);
  copy(pass.higher, own.higher);
  copy(pass.shares.student, own.shares.student);
  copy(pass.shares.teacher, own.shares.teacher);
  const Stream stream = student.stream();
  recorded.graph.launch(stream);
  ++launches;
  // The same graph may come again before they are read.
  const Results& mine = recorded.results;
  results.losses.copy_from(mine.losses);
  results.logits.copy_from(mine.logits);
  if (recorded.shares) results.share.copy_from(mine.share);
  if (pass.plan.role == Role::largest)
    kernels::runtime::copy(results.right, stream.device, mine.right, stream.device, sizeof *mine.right,
                           stream);
  return {results.logits, *recorded.loss, recorded.shares ? results.share : Tensor()};
}

PassGraphs::PassGraphs(Supernet& student, const Config& config) {
  if (student.device().backend == Backend::cpu)
    throw std::invalid_argument("[graphs] the cpu has no graphs: set device=cuda or simt, or graphs=false");
  state_ = std::make_unique<State>(student, config);
}

PassGraphs::~PassGraphs() = default;

PassResult PassGraphs::run(const PassInput& pass, const Tensor& losses, float* right) {
  State& s = *state_;
  if (reducer().ranks() > 1) return run_pass(s.student, s.config, pass, losses, right);
  const Key key = key_of(pass);
  const Results results = s.results_of(pass, losses, right);
  const auto found = s.passes.find(key);
  if (found == s.passes.end()) {
    // First step sizes and the like come from the host, which a recording could not read.
    PassResult result = s.run_once(pass, results, nullptr);
    s.passes.emplace(key, nullptr);
    return result;
  }
  if (found->second) {
    for (const auto& change : found->second->changes) change();
  } else {
    auto recorded = std::make_unique<Recorded>();
    s.record(pass, *recorded);
    found->second = std::move(recorded);
  }
  return s.launch(*found->second, pass, results);
}

std::size_t PassGraphs::graphs() const {
  return state_->graphs;
}
int64_t PassGraphs::launches() const {
  return state_->launches;
}

}  // namespace rtfq
