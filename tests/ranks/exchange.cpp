// Gradients that leave while backward computes others: the same bits, and what a step that fails leaves.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/random.h"
#include "engine/ranks/group.h"
#include "tests/ranks/as_ranks.h"
#include "tests/support/stripes.h"
#include "training/gradient_exchange.h"

using namespace rtfq;
using test::as_ranks;

namespace {

/// A rank's reducer, whose sums beside the computation are counted. The first `slow` of them take a tenth of
/// a second: far longer than a busy machine lets a thread wait.
class Counting final : public Reducer {
 public:
  explicit Counting(Reducer& of, int slow) : of_(of), counted_(*of.beside(), slow) {}
  int rank() const override { return of_.rank(); }
  int ranks() const override { return of_.ranks(); }
  void sum(std::span<double> values) override { of_.sum(values); }
  void sum(std::span<float> values) override { of_.sum(values); }
  Reducer* beside() override { return &counted_; }
  int done() const { return counted_.done; }

 private:
  struct Beside final : Reducer {
    Beside(Reducer& reducer, int slow_sums) : of(reducer), slow(slow_sums) {}
    int rank() const override { return of.rank(); }
    int ranks() const override { return of.ranks(); }
    void sum(std::span<double> values) override { count(values); }
    void sum(std::span<float> values) override { count(values); }
    template <class Values>
    void count(Values values) {
      if (done < slow) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      of.sum(values);
      ++done;
    }
    Reducer& of;
    const int slow;
    std::atomic<int> done{0};
  };
  Reducer& of_;
  Beside counted_;
};

struct Stopped {};

/// What two passes of a step add to the parameters of a network of three layers. The last pass reads the
/// leading 24 of 64 rows of `wide`, then `deep`, and not `other`.
struct Network {
  Parameter wide{"wide", ParameterKind::weight, Tensor::zeros({64, 3, 3, 1000})},
      other{"other", ParameterKind::norm, Tensor::zeros({77})},
      deep{"deep", ParameterKind::weight, Tensor::zeros({300, 1, 1, 1001})},
      idle{"idle", ParameterKind::weight, Tensor::zeros({5})};
  std::vector<Parameter*> all{&wide, &other, &deep, &idle};
  Random random;

  explicit Network(int rank) : random(5, Purpose::test, static_cast<uint64_t>(rank)) {
    idle.gradient.as<float>()[0] = 7;  // no pass has touched it
  }
  void add_to(const Tensor& gradient) {
    for (int64_t i = 0; i < gradient.count(); ++i) gradient.as<float>()[i] += random.normal();
  }
  void first_pass() {
    const Tape tape(true);
    for (Parameter* p : {&wide, &other, &deep}) tape.leaf(*p), add_to(p->gradient);
  }
  /// `before_wide`: when `deep` has its gradient, and `wide` has not.
  void last_pass(GradientExchange& exchange, const std::function<void()>& before_wide) {
    Tape tape(true);
    tape.tell(&exchange);
    const auto layer = [&](const Tensor& sink, const std::vector<Variable>& in, auto before) {
      return tape.record(Tensor::zeros({1}), true, [=, this](Tape& t, const Tensor& g) {
        before();
        add_to(sink);
        for (const Variable& x : in) t.accumulate(x, g);
      });
    };
    // Rows are contiguous, so that a corner of all columns is one span.
    const Variable a = layer(tape.leaf(wide, 24, 1000).sink, {}, before_wide);
    const Variable b = layer(tape.leaf(deep).sink, {a}, [] {});
    tape.backward(b, Tensor::from(std::vector<float>{1}, {1}));
  }
  std::vector<float> gradients() const {
    std::vector<float> values;
    for (const Parameter* p : all) {
      const std::vector<float> own = p->gradient.to_vector();
      values.insert(values.end(), own.begin(), own.end());
    }
    return values;
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

namespace {

/// Waits until the thread has made so many sums: nothing else can make them meanwhile.
int wait_for(const Counting& counting, int sums) {
  const auto soon = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (counting.done() < sums && std::chrono::steady_clock::now() < soon)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return counting.done();
}

/// What a rank has after a step, and how many buckets were summed by when.
struct Step {
  std::vector<float> gradients;
  int between = 0, early = 0, all = 0;
  double overlapped = 0;
};

/// `staged`: it is known beforehand that the last pass leaves alone what is behind 32 rows of `wide`.
/// 576,000 + 77 + 300,300 elements in buckets of 262,144: behind 32 rows are 288,000; 660,377 are not in the
/// 24 that the last pass adds to.
Step step_of(Reducer& reducer, bool overlap, bool staged) {
  Network network(reducer.rank());
  network.first_pass();
  Step step;
  Counting counting(reducer, staged ? 3 : 2);
  GradientExchange exchange(network.all, counting, overlap, staged ? 2 : 1,
                            [&](std::size_t pass, const Parameter& p) {
                              return pass == 1 && &p == &network.wide ? 32 : p.gradient.dim(0);
                            });
  if (staged) {
    exchange.pass_done();
    if (overlap) step.between = wait_for(counting, 2);
  }
  network.last_pass(exchange, [&] {
    if (overlap) step.early = wait_for(counting, staged ? 3 : 2);
  });
  exchange.finish();
  step.gradients = network.gradients();
  step.all = counting.done();
  step.overlapped = exchange.overlapped();
  return step;
}

void check_steps(int ranks, bool staged) {
  const auto count = static_cast<std::size_t>(ranks);
  std::vector<Step> after(count), beside(count);
  std::vector<std::vector<float>> own(count);
  as_ranks(ranks, [&](ranks::RankReducer& reducer) {
    const auto rank = static_cast<std::size_t>(reducer.rank());
    after[rank] = step_of(reducer, false, staged);
    beside[rank] = step_of(reducer, true, staged);
    Network alone(reducer.rank());
    alone.first_pass();
    LocalReducer local;
    GradientExchange nothing(alone.all, local, true);
    alone.last_pass(nothing, [] {});
    nothing.finish();
    own[rank] = alone.gradients();
  });
  for (std::size_t rank = 0; rank < count; ++rank) {
    INFO(ranks << " ranks, rank " << rank << (staged ? ", rows known beforehand" : ""));
    CHECK(same_bits(beside[rank].gradients, after[rank].gradients));
    CHECK(same_bits(beside[rank].gradients, beside[0].gradients));
    CHECK(beside[rank].between == (staged ? 2 : 0));
    CHECK(beside[rank].early == (staged ? 3 : 2));
    CHECK(beside[rank].all == (staged ? 5 : 4));
    CHECK(beside[rank].overlapped > 0);
    CHECK(after[rank].all == 0);
    CHECK(after[rank].overlapped == 0);
  }
  std::size_t wrong = 0;
  for (std::size_t i = 0; i + 5 < own[0].size(); ++i) {
    double sum = 0, size = 0;
    for (std::size_t rank = 0; rank < count; ++rank)
      sum += own[rank][i], size += std::abs(static_cast<double>(own[rank][i]));
    if (!(std::abs(beside[0].gradients[i] - sum) <= 3e-7 * size)) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(beside[0].gradients[own[0].size() - 5] == 7);  // not the ranks' sum
}

}  // namespace

TEST_CASE("ranks: gradients summed beside passes have the bits of those summed after them") {
  for (const int ranks : {2, 4})
    for (const bool staged : {false, true}) check_steps(ranks, staged);
}

TEST_CASE("ranks: a pass that adds to gradients which are on their way is refused") {
  Network network(0);
  network.first_pass();
  LocalReducer local;
  GradientExchange exchange(network.all, local, true, 2, [](std::size_t, const Parameter& p) {
    return std::min<int64_t>(20, p.gradient.dim(0));
  });
  exchange.pass_done();
  CHECK_THROWS_WITH(network.last_pass(exchange, [] {}),
                    Catch::Matchers::Contains("pass 2 reads 24 rows of wide"));
}

TEST_CASE("ranks: a step that fails in backward leaves both channels in order") {
  constexpr int ranks = 3;
  std::vector<std::vector<float>> results(2 * ranks);
  as_ranks(ranks, [&](ranks::RankReducer& reducer) {
    const auto rank = static_cast<std::size_t>(reducer.rank());
    for (const bool fails : {false, true}) {
      if (fails) {
        Network network(reducer.rank());
        network.first_pass();
        bool thrown = false;
        try {
          GradientExchange exchange(network.all, reducer, true);
          network.last_pass(exchange, [] { throw Stopped(); });
        } catch (const Stopped&) {
          thrown = true;
        }
        float all = thrown ? 1 : 0;
        reducer.sum(std::span(&all, 1));
        if (all != ranks) return;
      }
      Network network(reducer.rank());
      network.first_pass();
      GradientExchange exchange(network.all, reducer, true);
      network.last_pass(exchange, [] {});
      exchange.finish();
      results[rank + (fails ? ranks : 0)] = network.gradients();
    }
  });
  for (const std::vector<float>& result : results) {
    REQUIRE_FALSE(result.empty());
    CHECK(same_bits(result, results.front()));
  }
}

namespace {

/// A rank that is killed while its gradients, and those of the others, are on their way.
[[noreturn]] void be_rank(int rank, int count, int port, const std::string& errors) {
  ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
  ::alarm(60);
  kernels::runtime::set_threads(1);
  ranks::Group group({ranks::Launcher::variables, rank, count, "127.0.0.1", port});
  Network network(rank);
  network.first_pass();
  {
    GradientExchange exchange(network.all, reducer(), true);
    network.last_pass(exchange, [&] {
      if (rank == 1) ::raise(SIGKILL);
    });
    exchange.finish();
  }
  ::_exit(0);
}

}  // namespace

TEST_CASE("ranks: one that is killed while gradients are on their way is named") {
  const test::Stripes place(2);  // for its folder
  constexpr int count = 3;
  const int port = ranks::port_of(ranks::listen_on(0, 1));  // free a moment ago
  std::vector<pid_t> processes;
  for (int rank = 0; rank < count; ++rank) {
    const std::string errors = place.at("err" + std::to_string(rank));
    const pid_t process = ::fork();
    REQUIRE(process >= 0);
    if (process == 0) be_rank(rank, count, port, errors);
    processes.push_back(process);
  }
  for (int rank = 0; rank < count; ++rank) {
    int state = 0;
    REQUIRE(::waitpid(processes[static_cast<std::size_t>(rank)], &state, 0) > 0);
    std::ifstream file(place.at("err" + std::to_string(rank)));
    const std::string said{std::istreambuf_iterator<char>(file), {}};
    INFO("rank " << rank << ": " << said);
    if (rank == 1) {
      CHECK((WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL));
      continue;
    }
    CHECK((WIFEXITED(state) && WEXITSTATUS(state) == 1));
    CHECK_THAT(said, Catch::Matchers::Contains("rank 1 (process " + std::to_string(processes[1]) + " on ") &&
                         Catch::Matchers::Contains("died"));
  }
}
