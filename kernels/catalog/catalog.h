#pragma once
// The catalog: for each operator its cases (shape and data), fp64 reference, tolerance and declared cost.
// Tests, the kernel bench and the coverage listing read it. An Entry makes an Instance: one operator on one
// shape, operands allocated in guarded and poisoned buffers, expected results computed in fp64. How to add
// one: docs/architecture.md.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/catalog/mirror.h"
#include "kernels/catalog/operands.h"
#include "kernels/operator.h"
#include "kernels/plugin.h"

namespace rtfq::kernels::catalog {

/// Memory of exactly `bytes` bytes between two guard zones, filled with poison (0xFF bytes: NaN in f32) at
/// the start. With guard_pages(true), pages that nobody may touch follow the zones: what reaches beyond them
/// ends the process.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes = 0);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  void* data() { return data_; }
  const void* data() const { return data_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }
  /// Bytes of the guard zones.
  std::size_t guard_before() const { return before_; }
  std::size_t guard_after() const { return after_; }
  /// Nothing was written outside.
  bool guards_intact() const { return broken_guard() == 0; }
  /// Distance of the first guard byte that was written from the nearest byte of the buffer: negative before
  /// it, positive behind it (1 is the byte right after the end); 0: none was.
  std::ptrdiff_t broken_guard() const;
  void poison();

 private:
  std::size_t bytes_ = 0, before_ = 0, after_ = 0;  ///< of the guard zones
  std::byte* data_ = nullptr;
  void* mapping_ = nullptr;  ///< with guard pages
  std::size_t mapped_ = 0;
  std::byte* storage_ = nullptr;  ///< without
};

/// Whether buffers made from now on lie between guard pages; a page or two more each.
void guard_pages(bool);
/// What an address that could not be touched is to the buffers alive, for a handler of SIGSEGV: "12 bytes
/// behind the end of a buffer of 400 bytes", or an empty string. Writes to `text` and allocates nothing.
void describe_address(const void* address, char* text, std::size_t size);

/// What a quantizer declares about its rounding, and what it is not meant for; the default is this project's
/// own.
struct Contract {
  rtfq_scaling scaling = RTFQ_RECIPROCAL;
  rtfq_ties ties = RTFQ_TIES_EVEN;
  bool finite_only = false;  ///< no NaN and no infinities in the data
  bool operator==(const Contract&) const = default;
};

/// What an output must hold. Passes when |found - expected| <= absolute + relative*|expected|, so NaN fails
/// unless NaN is expected. Tolerances of zero mean bit-equal values (numerically: -0 equals 0).
struct Expectation {
  std::string name;  ///< "y", "dw"
  std::size_t buffer;
  rtfq_dtype type = RTFQ_F32;
  std::vector<double> values;  ///< one for each element of the buffer, also those that must stay as they were
  double absolute = 0, relative = 0;
  bool is_double = false;  ///< the buffer holds f64
  /// The other value of elements whose exact value lies so near to a tie or a border that another order of
  /// rounding gives the neighbour: it is a near-tie, not a fault. As many as `values`, the same where there
  /// is none; empty: nowhere.
  std::vector<double> neighbours{};
  double near_absolute = 0;  ///< what such elements may add to the tolerance of a sum over them
  /// Only these elements were computed: `values` has one for each of them; empty: all.
  std::vector<std::size_t> at{};
};

/// Everything one case needs. `restore` puts operands that a launch updates back to their first state.
template <class Op>
struct Problem {
  typename Op::Shape shape{};
  typename Op::Args args{};
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Expectation> expected;
  const void* weights = nullptr;  ///< for pack()
  const void** packed = nullptr;  ///< where args wants the packed weights
  void** workspace = nullptr;     ///< where args wants the workspace
  std::function<void()> restore = [] {};
  /// The inputs of an element of an output, for a message: "x = 0.35, step = 0.1"; may be empty.
  std::function<std::string(const std::string& output, std::size_t index)> inputs{};
  std::vector<std::function<Table()>> tables;  ///< other storage that args points to: tables of tensors

  /// Keeps a table that args is to point to; it may grow until the problem runs.
  template <class T>
  std::shared_ptr<std::vector<T>> table() {
    auto made = std::make_shared<std::vector<T>>();
    tables.push_back([made] { return std::as_bytes(std::span<const T>(*made)); });
    return made;
  }

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
  std::size_t near_ties = 0;   ///< elements that are their neighbour's value, where that is allowed
  std::size_t compared = 0;    ///< elements
  std::string near_message{};  ///< the first of them
  bool trespassed = false;     ///< it wrote to an input or outside its outputs
};

/// What comparisons allow. Tests of our own kernels hold them to the contract, bit for bit.
enum class Ties { strict, near };

/// A problem of any operator, ready to run.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual std::vector<std::string> implementations(Backend) const = 0;
  /// Why the implementation refuses this shape, or an empty string.
  virtual std::string unsupported(Backend, const std::string& implementation) const = 0;
  /// Runs it once on poisoned outputs and compares every output, all guard zones, and that inputs stayed as
  /// they were.
  virtual Verdict verify(Backend, const std::string& implementation, Ties = Ties::strict) = 0;
  /// Packs the weights and sizes the workspace, then `launch` may be called any number of times. What was
  /// prepared for an implementation is kept: preparing it again only switches to it.
  virtual void prepare(Backend, const std::string& implementation) = 0;
  virtual void launch() = 0;
  /// The same on a stream of the backend's device.
  virtual void launch(Stream) = 0;
  virtual Cost cost() const = 0;
  /// Seconds that laying out the weights took for the current implementation; NaN: it has none to lay out.
  virtual double prepare_seconds() const = 0;
  /// Bytes of all operands, packed weights and workspace: whether a case fits a cache.
  virtual std::size_t footprint() const = 0;
  /// Whether next to nothing of the operands is written, so that memory's rate of reading alone bounds it.
  virtual bool only_reads() const = 0;
  /// The shape in words and which outputs are wanted: "rows 1, groups 1, cols 1003, ...; outputs y, codes".
  virtual std::string description() const = 0;
};

struct Entry {
  std::string op;         ///< "conv2d.forward"
  std::string case_name;  ///< unique within op, says what is particular: "3x3s2_56x56_64_slice_of_80"
  bool large = false;     ///< sizes of real networks: for benchmarks; tests run the small ones
  std::function<std::unique_ptr<Instance>()> make;
  /// The same for a quantizer that rounds otherwise; null where nothing is rounded.
  std::function<std::unique_ptr<Instance>(const Contract&)> make_for{};

  std::unique_ptr<Instance> instance(const Contract& contract) const {
    return make_for ? make_for(contract) : make();
  }
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
std::vector<Entry> codes_entries();
std::vector<Entry> running_entries();
std::vector<Entry> moments_entries();
std::vector<Entry> answers_entries();

/// Seeded data. Small integers times powers of two make every product and sum exact in f32, so that
/// references are met with tolerance zero whatever the order of the sums; random floats come second.
void fill_exact(float* x, std::size_t count, uint64_t seed, int magnitude = 4, float scale = 1.0f);
void fill_normal(float* x, std::size_t count, uint64_t seed, float mean = 0.0f, float deviation = 1.0f);

/// Compares one output with its expectation.
Verdict compare(const Expectation&, const Buffer&, Ties = Ties::strict,
                const std::function<std::string(const std::string&, std::size_t)>& inputs = {});

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
    auto& p = *problem_;
    auto& made = prepared_[{backend, name}];
    current_ = &made;
    if (made.implementation) return point_arguments();
    made.implementation = &find(backend, name);
    made.stream.device = device_of(backend);
    made.workspace = std::make_unique<Buffer>(p.workspace ? made.implementation->workspace(p.shape) : 0);
    made.packed = std::make_unique<Buffer>(p.packed ? made.implementation->packed(p.shape) : 0);
    if (mirrored(backend)) {
      auto& mirror = mirrors_[backend];
      if (!mirror) {
        mirror = std::make_unique<Mirror>(made.stream.device);
        for (auto& buffer : p.buffers) mirror->add(*buffer, Mirror::Kind::operand);
        mirror->upload();
      }
      made.operands = mirror.get();
      made.scratch = std::make_unique<Mirror>(made.stream.device);
      made.scratch->add(*made.workspace, Mirror::Kind::scratch);
      made.scratch->add(*made.packed, Mirror::Kind::scratch);
      made.scratch->upload();
    }
    if (made.packed->bytes()) {
      const void* weights = made.operands ? made.operands->at(p.weights) : p.weights;
      void* packed = made.scratch ? made.scratch->at(made.packed->data()) : made.packed->data();
      const auto start = std::chrono::steady_clock::now();
      made.implementation->pack(p.shape, weights, packed, made.stream);
      runtime::synchronize(made.stream);
      made.prepare_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    point_arguments();
  }
  void launch() override { launch(current_->stream); }
  void launch(Stream stream) override {
    current_->implementation->launch(problem_->shape, current_->operands ? current_->args : problem_->args,
                                     stream);
  }
  Verdict verify(Backend backend, const std::string& name, Ties ties) override {
    auto& p = *problem_;
    if (p.expected.empty()) return {false, "the case expects nothing: it cannot fail", 0};
    for (const auto& expectation : p.expected) p.buffers[expectation.buffer]->poison();
    p.restore();
    prepare(backend, name);
    std::vector<std::unique_ptr<std::byte[]>> before(p.buffers.size());
    for (std::size_t i = 0; i < p.buffers.size(); ++i) {
      if (is_output(i)) continue;
      before[i] = std::make_unique_for_overwrite<std::byte[]>(p.buffers[i]->bytes());
      if (p.buffers[i]->bytes()) std::memcpy(before[i].get(), p.buffers[i]->data(), p.buffers[i]->bytes());
    }
    if (current_->operands) current_->operands->upload();
    launch();
    runtime::synchronize(current_->stream);
    if (current_->operands) {
      current_->operands->download();
      current_->scratch->download();
    }
    Verdict all{true, "", 0};
    // What reads a changed input gives other results than the reference: the change alone is said.
    for (std::size_t i = 0; i < p.buffers.size(); ++i)
      if (before[i] && p.buffers[i]->bytes() &&
          std::memcmp(before[i].get(), p.buffers[i]->data(), p.buffers[i]->bytes()) != 0)
        trespass(all, "to an input: " + changed_text(inputs_of(p.shape, p.args), p.buffers[i]->data(),
                                                     buffer_name(i), before[i].get(), p.buffers[i]->bytes()));
    const bool comparable = !all.trespassed;
    for (const auto& expectation : p.expected) {
      if (!comparable) break;
      Verdict one = compare(expectation, *p.buffers[expectation.buffer], ties, p.inputs);
      all.worst = std::max(all.worst, one.worst);
      all.near_ties += one.near_ties;
      all.compared += one.compared;
      if (all.near_message.empty()) all.near_message = one.near_message;
      if (!one.ok) fail(all, one.message);
    }
    for (std::size_t i = 0; i < p.buffers.size(); ++i) check_guards(all, *p.buffers[i], buffer_name(i));
    check_guards(all, *current_->workspace, "the workspace");
    check_guards(all, *current_->packed, "the packed weights");
    return all;
  }
  double prepare_seconds() const override { return current_->prepare_seconds; }
  std::size_t footprint() const override {
    std::size_t bytes = current_ ? current_->workspace->bytes() + current_->packed->bytes() : 0;
    for (const auto& buffer : problem_->buffers) bytes += buffer->bytes();
    return bytes;
  }
  bool only_reads() const override {
    std::size_t all = 0, written = 0;
    for (std::size_t i = 0; i < problem_->buffers.size(); ++i) {
      all += problem_->buffers[i]->bytes();
      if (is_output(i)) written += problem_->buffers[i]->bytes();
    }
    return written < all / 50;
  }
  Cost cost() const override { return declared_cost<Op>(problem_->shape); }
  std::string description() const override {
    std::string text = shape_text(problem_->shape), outputs;
    for (const auto& e : problem_->expected) outputs += (outputs.empty() ? "" : ", ") + e.name;
    return text + (text.empty() ? "" : "; ") + (problem_->expected.size() > 1 ? "outputs " : "output ") +
           outputs;
  }

 private:
  static const typename Op::Impl& find(Backend backend, const std::string& name) {
    for (const auto& implementation : Op::implementations(backend))
      if (name == implementation.name) return implementation;
    throw_no_implementation(Op::name, "; there is none called " + name);
  }

  /// What one implementation computes with.
  struct Prepared {
    const typename Op::Impl* implementation = nullptr;
    std::unique_ptr<Buffer> workspace, packed;
    Mirror* operands = nullptr;  ///< on devices with memory of their own
    std::unique_ptr<Mirror> scratch;
    typename Op::Args args{};  ///< with the device's addresses
    Stream stream;
    double prepare_seconds = std::numeric_limits<double>::quiet_NaN();
  };

  /// The arguments are those of the current implementation, its workspace and packed weights.
  void point_arguments() {
    auto& p = *problem_;
    auto& made = *current_;
    if (p.workspace) *p.workspace = made.workspace->data();
    if (p.packed) *p.packed = made.packed->bytes() ? made.packed->data() : p.weights;
    if (!made.operands) return;
    static_assert(std::is_trivially_copyable_v<typename Op::Args>);
    std::vector<Table> tables;
    for (const auto& table : p.tables) tables.push_back(table());
    made.args = p.args;
    made.scratch->translate(&made.args, sizeof made.args, tables, made.operands);
  }

  bool is_output(std::size_t buffer) const {
    return std::any_of(problem_->expected.begin(), problem_->expected.end(),
                       [&](const Expectation& e) { return e.buffer == buffer; });
  }
  std::string buffer_name(std::size_t buffer) const {
    for (const auto& e : problem_->expected)
      if (e.buffer == buffer) return e.name;
    for (const Operand& one : inputs_of(problem_->shape, problem_->args))
      if (one.data == problem_->buffers[buffer]->data()) return one.name;
    return "operand " + std::to_string(buffer + 1);
  }
  static void fail(Verdict& all, const std::string& message) {
    all.ok = false;
    all.message += (all.message.empty() ? "" : "\n") + message;
  }
  static void trespass(Verdict& all, const std::string& where) {
    all.trespassed = true;
    fail(all, "wrote " + where);
  }
  static void check_guards(Verdict& all, const Buffer& buffer, const std::string& what) {
    if (const auto at = buffer.broken_guard())
      trespass(all, "outside a buffer: " + what + ", " + std::to_string(at < 0 ? -at : at) +
                        (at == 1 || at == -1 ? " byte" : " bytes") +
                        (at < 0 ? " before its start" : " past its last"));
  }

  std::unique_ptr<Problem<Op>> problem_;
  std::map<Backend, std::unique_ptr<Mirror>> mirrors_;
  std::map<std::pair<Backend, std::string>, Prepared> prepared_;
  Prepared* current_ = nullptr;
};

/// An Entry from a function that builds the problem.
template <class Op>
Entry entry(std::string case_name, std::function<std::unique_ptr<Problem<Op>>()> build, bool large = false) {
  return {Op::name, std::move(case_name), large, [build = std::move(build)]() -> std::unique_ptr<Instance> {
            return std::make_unique<ProblemInstance<Op>>(build());
          }};
}

/// The same where the problem depends on how a quantizer rounds.
template <class Op>
Entry entry(std::string case_name, std::function<std::unique_ptr<Problem<Op>>(const Contract&)> build,
            bool large) {
  const auto make = [build = std::move(build)](const Contract& contract) -> std::unique_ptr<Instance> {
    return std::make_unique<ProblemInstance<Op>>(build(contract));
  };
  return {Op::name, std::move(case_name), large, [make] { return make({}); }, make};
}

}  // namespace rtfq::kernels::catalog
