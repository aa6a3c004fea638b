#pragma once
// The state of a pickle's machine: its stack, marks and memo, and the values that it makes. Private to
// engine/formats/pickle*.cpp; the instructions are in pickle.cpp.

#include <unordered_map>

#include "engine/formats/pickle.h"

namespace rtfq::formats {

class PickleMachine {
 public:
  PickleMachine(Bytes bytes, std::size_t position, std::span<const char* const> known)
      : in_(bytes, position), known_(known) {}

  Pickle run() {
    while (!step(in_.read<unsigned char>())) {
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }
  std::size_t position() const { return in_.position(); }

 private:
  using Kind = PickleNode::Kind;

  /// One instruction; true for the last one.
  bool step(unsigned char code);
  bool step_structure(unsigned char code);
  bool step_literal(unsigned char code);
  bool step_memo(unsigned char code);

  PickleId push(PickleNode node) {
    constexpr std::size_t most = std::size_t{1} << 22;
    if (pickle_.nodes.size() >= most) throw FormatError("the pickle has more than 4 million values");
    pickle_.nodes.push_back(std::move(node));
    stack_.push_back(static_cast<PickleId>(pickle_.nodes.size() - 1));
    return stack_.back();
  }
  void push(Kind kind, std::string text) {
    PickleNode node;
    node.kind = kind;
    node.text = std::move(text);
    push(std::move(node));
  }
  void push_integer(int64_t value, Kind kind = Kind::integer) {
    PickleNode node;
    node.kind = kind;
    node.integer = value;
    push(std::move(node));
  }
  void push_real(double value) {
    PickleNode node;
    node.kind = Kind::real;
    node.real = value;
    push(std::move(node));
  }
  void push_sequence(std::vector<PickleId> children) {
    PickleNode node;
    node.kind = Kind::sequence;
    node.children = std::move(children);
    push(std::move(node));
  }
  void push_long(Bytes bytes);
  void push_global(const std::string& module, const std::string& name);
  void push_call(PickleId callee, PickleId arguments);

  PickleId top() const {
    const std::size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) throw FormatError("the pickle takes a value that it never gave");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) throw FormatError("the pickle closes a group that it never opened");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> values(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return values;
  }
  std::vector<PickleId> pop_last(std::size_t count) {
    std::vector<PickleId> values(count);
    for (std::size_t i = count; i-- > 0;) values[i] = pop();
    return values;
  }
  PickleNode& node(PickleId id) { return pickle_.nodes[id]; }
  std::string text_of(PickleId id) {
    if (node(id).kind != Kind::text)
      throw FormatError("the pickle names a global by something else than text");
    return node(id).text;
  }
  void set_items(PickleId target, const std::vector<PickleId>& values);
  void append(PickleId target, const std::vector<PickleId>& values);

  ByteReader in_;
  std::span<const char* const> known_;
  Pickle pickle_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<uint64_t, PickleId> memo_;
};

}  // namespace rtfq::formats
