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
          pass.shares && pass.shares->student.defined(),
          pass.shares && pass.shares->teacher.defined()};
}

/// Where a pass leaves what is read later.
struct Results {
  Tensor losses;  ///< f32 [PassLoss::most_terms]
  float* right;   ///< f32, on the device
  Tensor logits;  ///< f32 [n, k]
  Tensor shares;  ///< f32 [k], ClassShares::student where the pass changes it
};

/// A recorded pass. What it reads and writes besides the network is memory of its own, outside the arena,
/// whose blocks other passes use in between.
struct Recorded {
  Graph graph;
  PassInput input;
  ClassShares shares;
  Results results;
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

  Tensor empty(Dims dims) const { return Tensor::empty(dims, DType::f32, student.device()); }
  Results results_of(const PassInput&, const Tensor& losses, float* right) const;
  PassLoss run_once(const PassInput&, const Results&, Tape::HostChanges*);
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

Results PassGraphs::State::results_of(const PassInput& pass, const Tensor& losses, float* right) const {
  const int64_t classes = student.options().classes;
  const LossConfig& loss = config.loss;
  const bool averages = pass.shares && pass.plan.role == Role::largest && pass.target_rows() > 0 &&
                        loss.information > 0 && loss.information_average > 0;
  return {losses, right, empty({pass.images.dim(0), classes}), averages ? empty({classes}) : Tensor()};
}

/// In the arena, and afterwards nothing of it is in use, so that all passes may have the same blocks.
PassLoss PassGraphs::State::run_once(const PassInput& pass, const Results& results,
                                     Tape::HostChanges* changes) {
  std::optional<PassLoss> loss;
  {
    const memory::Arena::Scope scope(arena);
    ClassShares shares;
    PassInput own = pass;
    if (pass.shares) {
      shares = *pass.shares;
      own.shares = &shares;
    }
    PassResult result = run_pass(student, config, own, results.losses, results.right, changes);
    results.logits.copy_from(result.logits);
    if (results.shares.defined()) results.shares.copy_from(shares.student);
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
  Tensor& shared = images[{pass.images.dim(0), pass.images.dim(1)}];
  if (!shared.defined()) shared = place_for(pass.images);
  own.images = shared;
  own.labels = place_for(pass.labels);
  own.teaching = place_for(pass.teaching);
  own.pseudo_labels = place_for(pass.pseudo_labels);
  own.higher = place_for(pass.higher);
  if (pass.shares) {
    recorded.shares = {place_for(pass.shares->student), place_for(pass.shares->teacher)};
    own.shares = &recorded.shares;
  }
  // One tensor, of which the last is the number that were right.
  const Tensor numbers = empty({PassLoss::most_terms + 1});
  recorded.results =
      results_of(pass, numbers.slice(0, 0, PassLoss::most_terms), numbers.as<float>() + PassLoss::most_terms);

  const Stream stream = student.stream();
  Graph::begin_capture(stream);
  try {
    recorded.loss = run_once(own, recorded.results, &recorded.changes);
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
  if (pass.shares) {
    copy(pass.shares->student, own.shares->student);
    copy(pass.shares->teacher, own.shares->teacher);
  }
  const Stream stream = student.stream();
  recorded.graph.launch(stream);
  ++launches;
  // The same graph may come again before they are read.
  const Results& mine = recorded.results;
  results.losses.copy_from(mine.losses);
  results.logits.copy_from(mine.logits);
  if (results.shares.defined()) results.shares.copy_from(mine.shares);
  if (pass.plan.role == Role::largest)
    kernels::runtime::copy(results.right, stream.device, mine.right, stream.device, sizeof *mine.right,
                           stream);
  return {results.logits, *recorded.loss};
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
  const auto result = [&]() -> PassResult {
    if (found == s.passes.end()) {
      // First step sizes and the like come from the host, which a recording could not read.
      PassLoss loss = s.run_once(pass, results, nullptr);
      s.passes.emplace(key, nullptr);
      return {results.logits, std::move(loss)};
    }
    if (found->second) {
      for (const auto& change : found->second->changes) change();
    } else {
      auto recorded = std::make_unique<Recorded>();
      s.record(pass, *recorded);
      found->second = std::move(recorded);
    }
    return s.launch(*found->second, pass, results);
  }();
  if (results.shares.defined()) pass.shares->student = results.shares;
  return result;
}

std::size_t PassGraphs::graphs() const {
  return state_->graphs;
}
int64_t PassGraphs::launches() const {
  return state_->launches;
}

}  // namespace rtfq
