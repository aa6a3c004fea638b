#pragma once
// From a family's Problem to an Entry of the catalog: preparing, launching and verifying an implementation of
// any operator. Families include it; who only reads the catalog needs catalog.h alone.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/catalog/catalog.h"
#include "kernels/catalog/mirror.h"
#include "kernels/catalog/operands.h"
#include "kernels/tf32.h"

namespace rtfq::kernels::catalog {

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
    if (problem_->tf32 && name.rfind("tf32", 0) != 0) return "does not round to TF32, as this case wants";
    const ScopedTf32 scope(problem_->tf32);
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
  double read_share() const override {
    double written = 0;
    for (std::size_t i = 0; i < problem_->buffers.size(); ++i)
      if (is_output(i)) written += static_cast<double>(problem_->buffers[i]->bytes());
    return std::clamp(1 - written / cost().bytes, 0.0, 1.0);
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
