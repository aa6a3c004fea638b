// The machine of CPython's Lib/pickletools.py (protocols 0 to 5), with data instead of objects.
#include "engine/formats/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <unordered_map>

namespace rtfq::formats {
namespace {

using Kind = PickleNode::Kind;

class Machine {
 public:
  Machine(Bytes bytes, std::size_t position, std::span<const char* const> known)
      : in_(bytes, position), known_(known) {}

  Pickle run() {
    while (!step(in_.read<unsigned char>())) {
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }
  std::size_t position() const { return in_.position(); }

 private:
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

void Machine::push_long(Bytes bytes) {
  if (bytes.size() > 8) {
    push(Kind::integer, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    return;
  }
  uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= static_cast<uint64_t>(bytes[i]) << 8 * i;
  const std::size_t unused = 64 - 8 * bytes.size();
  push_integer(bytes.empty() ? 0 : static_cast<int64_t>(value << unused) >> unused);
}

void Machine::push_global(const std::string& module, const std::string& name) {
  // Python 2 called two modules otherwise.
  const std::string known_module = module == "__builtin__" ? "builtins" : module;
  const std::string full = known_module + "." + name;
  if (std::find(known_.begin(), known_.end(), full) == known_.end())
    throw FormatError("its pickle wants to use " + shown_name(full) +
                      ", which no state dict needs: nothing was executed. Save the tensors alone, "
                      "torch.save(model.state_dict(), FILE), where you trust the file");
  push(Kind::global, full);
}

void Machine::push_call(PickleId callee, PickleId arguments) {
  if (node(callee).kind != Kind::global) throw FormatError("the pickle calls something that is not a global");
  if (node(arguments).kind != Kind::sequence)
    throw FormatError("the pickle calls without a tuple of arguments");
  PickleNode call;
  call.kind = Kind::call;
  call.text = node(callee).text;
  call.children = {arguments};
  push(std::move(call));
}

void Machine::set_items(PickleId target, const std::vector<PickleId>& values) {
  if (node(target).kind != Kind::dictionary && node(target).kind != Kind::call)
    throw FormatError("the pickle sets items of something that has none");
  if (values.size() % 2) throw FormatError("the pickle sets an item without a value");
  for (std::size_t i = 0; i < values.size(); i += 2)
    node(target).items.emplace_back(values[i], values[i + 1]);
}

void Machine::append(PickleId target, const std::vector<PickleId>& values) {
  if (node(target).kind != Kind::sequence && node(target).kind != Kind::call)
    throw FormatError("the pickle appends to something that is not a list");
  auto& children = node(target).children;
  children.insert(children.end(), values.begin(), values.end());
}

bool Machine::step(unsigned char code) {
  if (code == '.') return true;  // STOP
  if (step_literal(code) || step_structure(code) || step_memo(code)) return false;
  throw FormatError("byte " + std::to_string(in_.position() - 1) +
                    " is not an instruction of a state dict's "
                    "pickle (" +
                    std::to_string(code) + ")");
}

bool Machine::step_literal(unsigned char code) {
  const auto number = [](const std::string& line, auto& value) {
    const char* end = line.data() + line.size();
    const auto result = std::from_chars(line.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end)
      throw FormatError("the pickle has the malformed number " + shown_name(line));
  };
  switch (code) {
    case 0x80: {  // PROTO
      const auto protocol = in_.read<unsigned char>();
      if (protocol > 5)
        throw FormatError("the pickle has protocol " + std::to_string(protocol) + ", known are 0 to 5");
      return true;
    }
    case 0x95:  // FRAME: its size matters to readers of streams only
      in_.take(8);
      return true;
    case 'N':
      push(PickleNode{});
      return true;
    case 0x88:
    case 0x89:
      push_integer(code == 0x88, Kind::boolean);
      return true;
    case 'I': {  // INT; 00 and 01 are booleans
      const std::string line = in_.line();
      int64_t value = 0;
      number(line, value);
      push_integer(value, line == "00" || line == "01" ? Kind::boolean : Kind::integer);
      return true;
    }
    case 'L': {  // LONG: digits and an L
      std::string line = in_.line();
      if (!line.empty() && line.back() == 'L') line.pop_back();
      int64_t value = 0;
      number(line, value);
      push_integer(value);
      return true;
    }
    case 'J':
      push_integer(in_.read<int32_t>());
      return true;
    case 'K':
      push_integer(in_.read<uint8_t>());
      return true;
    case 'M':
      push_integer(in_.read<uint16_t>());
      return true;
    case 0x8A:
      push_long(in_.take(in_.read<uint8_t>()));
      return true;
    case 0x8B:
      push_long(in_.take(in_.read<uint32_t>()));
      return true;
    case 'F': {
      double value = 0;
      number(in_.line(), value);
      push_real(value);
      return true;
    }
    case 'G':  // BINFLOAT is big-endian
      push_real(std::bit_cast<double>(__builtin_bswap64(in_.read<uint64_t>())));
      return true;
    case 'S': {  // STRING: quoted
      const std::string line = in_.line();
      if (line.size() < 2 || line.front() != line.back() || (line.front() != '\'' && line.front() != '"'))
        throw FormatError("the pickle has a string without quotes");
      push(Kind::text, line.substr(1, line.size() - 2));
      return true;
    }
    case 'V':
      push(Kind::text, in_.line());
      return true;
    case 'T':
    case 'X':
      push(Kind::text, in_.text(in_.read<uint32_t>()));
      return true;
    case 'U':
    case 0x8C:
      push(Kind::text, in_.text(in_.read<uint8_t>()));
      return true;
    case 0x8D:
      push(Kind::text, in_.text(in_.read<uint64_t>()));
      return true;
    case 'B':
      push(Kind::bytes, in_.text(in_.read<uint32_t>()));
      return true;
    case 'C':
      push(Kind::bytes, in_.text(in_.read<uint8_t>()));
      return true;
    case 0x8E:
    case 0x96:
      push(Kind::bytes, in_.text(in_.read<uint64_t>()));
      return true;
    default:
      return false;
  }
}

bool Machine::step_structure(unsigned char code) {
  switch (code) {
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '0':  // POP, of a mark where nothing lies above it
      if (!marks_.empty() && marks_.back() == stack_.size())
        marks_.pop_back();
      else
        pop();
      return true;
    case '1':
      pop_to_mark();
      return true;
    case '2':
      stack_.push_back(top());
      return true;
    case ')':
    case ']':
    case 0x8F:
      push_sequence({});
      return true;
    case 't':
    case 'l':
    case 0x91:
      push_sequence(pop_to_mark());
      return true;
    case 0x85:
    case 0x86:
    case 0x87:
      push_sequence(pop_last(code - 0x84u));
      return true;
    case '}': {
      PickleNode empty;
      empty.kind = Kind::dictionary;
      push(std::move(empty));
      return true;
    }
    case 'd': {
      const std::vector<PickleId> values = pop_to_mark();
      PickleNode dictionary;
      dictionary.kind = Kind::dictionary;
      set_items(push(std::move(dictionary)), values);
      return true;
    }
    case 's': {
      const std::vector<PickleId> item = pop_last(2);
      set_items(top(), item);
      return true;
    }
    case 'u': {
      const std::vector<PickleId> values = pop_to_mark();
      set_items(top(), values);
      return true;
    }
    case 'a': {
      const std::vector<PickleId> value{pop()};
      append(top(), value);
      return true;
    }
    case 'e':
    case 0x90: {
      const std::vector<PickleId> values = pop_to_mark();
      append(top(), values);
      return true;
    }
    case 'c': {
      const std::string module = in_.line();
      push_global(module, in_.line());
      return true;
    }
    case 0x93: {
      const std::vector<PickleId> names = pop_last(2);
      push_global(text_of(names[0]), text_of(names[1]));
      return true;
    }
    case 'R':
    case 0x81: {  // REDUCE, NEWOBJ
      const std::vector<PickleId> call = pop_last(2);
      push_call(call[0], call[1]);
      return true;
    }
    case 'b': {  // BUILD: attributes of an object, which the values here do not need
      const PickleId state = pop();
      PickleNode& object = node(top());
      if (object.kind == Kind::call) object.children.push_back(state);
      return true;
    }
    case 'P':
      push(Kind::text, in_.line());
      [[fallthrough]];
    case 'Q': {
      PickleNode outside;
      outside.kind = Kind::persistent;
      outside.children = {pop()};
      push(std::move(outside));
      return true;
    }
    default:
      return false;
  }
}

bool Machine::step_memo(unsigned char code) {
  const auto get = [&](uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) throw FormatError("the pickle remembers a value that it never kept");
    stack_.push_back(found->second);
  };
  const auto decimal = [&] {
    const std::string line = in_.line();
    uint64_t key = 0;
    const auto result = std::from_chars(line.data(), line.data() + line.size(), key);
    if (result.ec != std::errc() || result.ptr != line.data() + line.size())
      throw FormatError("the pickle has the malformed number " + shown_name(line));
    return key;
  };
  switch (code) {
    case 'g':
      get(decimal());
      return true;
    case 'h':
      get(in_.read<uint8_t>());
      return true;
    case 'j':
      get(in_.read<uint32_t>());
      return true;
    case 'p':
      memo_[decimal()] = top();
      return true;
    case 'q':
      memo_[in_.read<uint8_t>()] = top();
      return true;
    case 'r':
      memo_[in_.read<uint32_t>()] = top();
      return true;
    case 0x94:
      memo_[memo_.size()] = top();
      return true;
    default:
      return false;
  }
}

}  // namespace

Pickle read_pickle(Bytes bytes, std::size_t& position, std::span<const char* const> known) {
  Machine machine(bytes, position, known);
  Pickle pickle = machine.run();
  position = machine.position();
  return pickle;
}

}  // namespace rtfq::formats
