#include "engine/formats/pickle_machine.h"

#include <algorithm>

namespace rtfq::formats {

void PickleMachine::push_long(Bytes bytes) {
  if (bytes.size() > 8) {
    push(Kind::integer, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    return;
  }
  uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= static_cast<uint64_t>(bytes[i]) << 8 * i;
  const std::size_t unused = 64 - 8 * bytes.size();
  push_integer(bytes.empty() ? 0 : static_cast<int64_t>(value << unused) >> unused);
}

void PickleMachine::push_global(const std::string& module, const std::string& name) {
  // Python 2 called two modules otherwise.
  const std::string known_module = module == "__builtin__" ? "builtins" : module;
  const std::string full = known_module + "." + name;
  if (std::find(known_.begin(), known_.end(), full) == known_.end())
    throw FormatError("its pickle wants to use " + shown_name(full) +
                      ", which no state dict needs: nothing was executed. Save the tensors alone, "
                      "torch.save(model.state_dict(), FILE), where you trust the file");
  push(Kind::global, full);
}

void PickleMachine::push_call(PickleId callee, PickleId arguments) {
  if (node(callee).kind != Kind::global) throw FormatError("the pickle calls something that is not a global");
  if (node(arguments).kind != Kind::sequence)
    throw FormatError("the pickle calls without a tuple of arguments");
  PickleNode call;
  call.kind = Kind::call;
  call.text = node(callee).text;
  call.children = {arguments};
  push(std::move(call));
}

void PickleMachine::set_items(PickleId target, const std::vector<PickleId>& values) {
  if (node(target).kind != Kind::dictionary && node(target).kind != Kind::call)
    throw FormatError("the pickle sets items of something that has none");
  if (values.size() % 2) throw FormatError("the pickle sets an item without a value");
  for (std::size_t i = 0; i < values.size(); i += 2)
    node(target).items.emplace_back(values[i], values[i + 1]);
}

void PickleMachine::append(PickleId target, const std::vector<PickleId>& values) {
  if (node(target).kind != Kind::sequence && node(target).kind != Kind::call)
    throw FormatError("the pickle appends to something that is not a list");
  auto& children = node(target).children;
  children.insert(children.end(), values.begin(), values.end());
}

}  // namespace rtfq::formats
