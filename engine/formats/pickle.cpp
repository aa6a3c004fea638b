// The machine of CPython's Lib/pickletools.py (protocols 0 to 5), with data instead of objects.
#include <bit>
#include <charconv>

#include "engine/formats/pickle_machine.h"

namespace rtfq::formats {

bool PickleMachine::step(unsigned char code) {
  if (code == '.') return true;  // STOP
  if (step_literal(code) || step_structure(code) || step_memo(code)) return false;
  throw FormatError("byte " + std::to_string(in_.position() - 1) +
                    " is not an instruction of a state dict's "
                    "pickle (" +
                    std::to_string(code) + ")");
}

bool PickleMachine::step_literal(unsigned char code) {
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

bool PickleMachine::step_structure(unsigned char code) {
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

bool PickleMachine::step_memo(unsigned char code) {
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

Pickle read_pickle(Bytes bytes, std::size_t& position, std::span<const char* const> known) {
  PickleMachine machine(bytes, position, known);
  Pickle pickle = machine.run();
  position = machine.position();
  return pickle;
}

}  // namespace rtfq::formats
