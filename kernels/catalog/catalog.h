#pragma once
// The catalog: for each operator its cases (shape and data), fp64 reference, tolerance and declared cost. Tests, the kernel
// bench and the coverage listing read it. An Entry makes an Instance: one operator on one shape, operands allocated in
// guarded and poisoned buffers, expected results computed in fp64. How to add one: docs/architecture.md.

#include "kernels/operator.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rtfq::kernels::catalog {

/// Memory of exactly `bytes` bytes between two guard zones, filled with poison (0xFF bytes: NaN in f32) at the start.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes = 0);
  void* data() { return storage_.get() + guard; }
  const void* data() const { return storage_.get() + guard; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(storage_.get() + guard);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(storage_.get() + guard);
  }
  std::size_t bytes() const { return bytes_; }
  /// Nothing was written outside.
  bool guards_intact() const;
  void poison();

 private:
  static constexpr std::size_t guard = 256;
  struct Free {
    void operator()(std::byte*) const;
  };
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte[], Free> storage_;
};

/// What an output must hold. Passes when |found - expected| <= absolute + relative*|expected|, so NaN fails unless NaN is
/// expected. Tolerances of zero mean bit-equal values (numerically: -0 equals 0).
struct Expectation {
  std::string name;  ///< "y", "dw"
  std::size_t buffer;
  rtfq_dtype type = RTFQ_F32;
  std::vector<double> values;  ///< one for each element of the buffer, also those that must stay as they were
  double absolute = 0, relative = 0;
  bool is_double = false;  ///< the buffer holds f64
};

/// Everything one case needs. `restore` puts operands that a launch updates back to their first state.
template <class Op>
struct Problem {
  typename Op::Shape shape{};
  typename Op::Args args{};
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Expectation> expected;
  const void* weights = nullptr;       ///< for pack()
  const void** packed = nullptr;       ///< where args wants the packed weights
  void** workspace = nullptr;          ///< where args wants the workspace
  std::function<void()> restore = [] {};
  std::vector<std::shared_ptr<void>> keep;  ///< other storage that args points to

  /// Adds a poisoned buffer of `count` elements and returns its typed memory.
  template <class T>
  T* add(std::size_t count) {
    buffers.push_back(std::make_unique<Buffer>(count * sizeof(T)));
    return buffers.back()->template as<T>();
  }
  /// Index of the buffer added last, for an Expectation.
  std::size_t last() const { return buffers.size() - 1; }
};

struct Verdict {
  bool ok = false;
  std::string message;  ///< of a failure: output, first differing index, expected, found, the greatest error
  double worst = 0;     ///< greatest |error| / tolerance (or absolute error where the tolerance is 0)
};

/// A problem of any operator, ready to run.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual std::vector<std::string> implementations(Backend) const = 0;
  /// Why the implementation refuses this shape, or an empty string.
  virtual std::string unsupported(Backend, const std::string& implementation) const = 0;
  /// Runs it once on poisoned outputs and compares every output and all guard zones.
  virtual Verdict verify(Backend, const std::string& implementation) = 0;
  /// Packs the weights and sizes the workspace, then `launch` may be called any number of times.
  virtual void prepare(Backend, const std::string& implementation) = 0;
  virtual void launch() = 0;
  virtual Cost cost() const = 0;
};

struct Entry {
  std::string op;         ///< "conv2d.forward"
  std::string case_name;  ///< unique within op, says what is particular: "3x3s2_56x56_64_slice_of_80"
  bool large = false;     ///< sizes of real networks: for benchmarks; tests run the small ones
  std::function<std::unique_ptr<Instance>()> make;
};

/// All families, in a fixed order. Families register here by name, one line each in catalog.cpp.
const std::vector<Entry>& entries();

std::vector<Entry> conv2d_entries();
std::vector<Entry> linear_entries();
std::vector<Entry> pool_entries();
std::vector<Entry> image_entries();
std::vector<Entry> fakequant_entries();
std::vector<Entry> batchnorm_entries();
std::vector<Entry> normquant_entries();
std::vector<Entry> elementwise_entries();
std::vector<Entry> loss_entries();
std::vector<Entry> optimizer_entries();

/// Seeded data. Small integers times powers of two make every product and sum exact in f32, so that references are met
/// with tolerance zero whatever the order of the sums; random floats come second.
void fill_exact(float* x, std::size_t count, uint64_t seed, int magnitude = 4, float scale = 1.0f);
void fill_normal(float* x, std::size_t count, uint64_t seed, float mean = 0.0f, float deviation = 1.0f);

/// Compares one output with its expectation.
Verdict compare(const Expectation&, const Buffer&);

template <class Op>
Cost declared_cost(const typename Op::Shape& shape) {
  return cost(Op{}, shape);  // found where the operator is declared
}

/// The Instance of a Problem.
template <class Op>
class ProblemInstance final : public Instance {
 public:
  explicit ProblemInstance(std::unique_ptr<Problem<Op>> problem) : problem_(std::move(problem)) {}

  std::vector<std::string> implementations(Backend backend) const override {
    std::vector<std::string> names;
    for (const auto& implementation : Op::implementations(backend)) names.emplace_back(implementation.name);
    return names;
  }
  std::string unsupported(Backend backend, const std::string& name) const override {
    const char* reason = find(backend, name).unsupported(problem_->shape);
    return reason ? reason : "";
  }
  void prepare(Backend backend, const std::string& name) override {
    implementation_ = &find(backend, name);
    stream_.device = {backend, 0};
    auto& p = *problem_;
    workspace_ = std::make_unique<Buffer>(implementation_->workspace(p.shape));
    if (p.workspace) *p.workspace = workspace_->data();
    if (p.packed) {
      const std::size_t bytes = implementation_->packed(p.shape);
      packed_ = std::make_unique<Buffer>(bytes);
      if (bytes) implementation_->pack(p.shape, p.weights, packed_->data(), stream_);
      *p.packed = bytes ? packed_->data() : p.weights;
    }
  }
  void launch() override { implementation_->launch(problem_->shape, problem_->args, stream_); }
  Verdict verify(Backend backend, const std::string& name) override {
    auto& p = *problem_;
    for (const auto& expectation : p.expected) p.buffers[expectation.buffer]->poison();
    p.restore();
    prepare(backend, name);
    launch();
    Verdict all{true, "", 0};
    if (p.expected.empty()) return {false, "the case expects nothing: it cannot fail", 0};
    for (const auto& expectation : p.expected) {
      Verdict one = compare(expectation, *p.buffers[expectation.buffer]);
      all.worst = std::max(all.worst, one.worst);
      if (!one.ok) all = {false, all.message + one.message + "\n", all.worst};
    }
    for (const auto& buffer : p.buffers)
      if (!buffer->guards_intact()) all = {false, all.message + "wrote outside a buffer\n", all.worst};
    if (!workspace_->guards_intact() || (packed_ && !packed_->guards_intact()))
      all = {false, all.message + "wrote outside the workspace or the packed weights\n", all.worst};
    return all;
  }
  Cost cost() const override { return declared_cost<Op>(problem_->shape); }

 private:
  static const typename Op::Impl& find(Backend backend, const std::string& name) {
    for (const auto& implementation : Op::implementations(backend))
      if (name == implementation.name) return implementation;
    throw_no_implementation(Op::name, "; there is none called " + name);
  }

  std::unique_ptr<Problem<Op>> problem_;
  const typename Op::Impl* implementation_ = nullptr;
  std::unique_ptr<Buffer> workspace_, packed_;
  Stream stream_;
};

/// An Entry from a function that builds the problem.
template <class Op>
Entry entry(std::string case_name, std::function<std::unique_ptr<Problem<Op>>()> build, bool large = false) {
  return {Op::name, std::move(case_name), large, [build = std::move(build)]() -> std::unique_ptr<Instance> {
            return std::make_unique<ProblemInstance<Op>>(build());
          }};
}

}  // namespace rtfq::kernels::catalog
