// An implementation is function pointers without a context, a plug-in's operator has one: each operator has a
// number of slots, and each slot functions of its own that find their plug-in in a table.
#include "kernels/plugin/host.h"

#include <dlfcn.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <initializer_list>
#include <list>
#include <memory>
#include <stdexcept>
#include <utility>

#include "kernels/plugin/cubin.h"
#include "kernels/plugin/families.h"
#include "kernels/plugin/python.h"
#include "kernels/runtime/huge_pages.h"

namespace rtfq::kernels::plugin {
namespace {

constexpr std::size_t slot_count = 8, kept_states = 64;

thread_local double own_seconds = std::nan("");

[[noreturn]] void fail(const std::string& text) {
  throw std::runtime_error("[plugin] " + text);
}

struct FreeMemory {
  void operator()(void* pointer) const { std::free(pointer); }
};

/// A plug-in's state for one shape, and the workspace of operators that are given none.
template <class Op>
struct State {
  using Shape = std::decay_t<decltype(shape_to_c(typename Op::Shape{}))>;
  Shape shape;
  const rtfq_operator* op;
  void* state = nullptr;
  std::unique_ptr<void, FreeMemory> workspace;

  State(const Shape& s, const rtfq_operator* o) : shape(s), op(o) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (op->destroy && state) op->destroy(state);
  }
};

/// The plug-ins of one operator.
template <class Op>
struct Slots {
  std::array<const rtfq_operator*, slot_count> op{};
  std::array<std::string, slot_count> name{};
  std::array<std::list<State<Op>>, slot_count> states{};  ///< the latest first
  std::array<Use, slot_count> use{};
  std::size_t used = 0;
};

template <class Op>
Slots<Op>& slots() {
  static Slots<Op> all;
  return all;
}

template <class Op>
void require_success(int answer, const rtfq_operator* op, const char* function) {
  if (answer == 0) return;
  const char* said = op->error ? op->error(op) : nullptr;
  throw std::runtime_error(std::string("[") + Op::name + "] plug-in " + op->name + ": " + function +
                           " answered " + std::to_string(answer) + (said ? std::string(": ") + said : ""));
}

template <class Op>
std::size_t workspace_of(const State<Op>& s) {
  return s.op->workspace_bytes ? s.op->workspace_bytes(s.op, s.state, &s.shape) : 0;
}

template <class Op>
constexpr bool has_workspace = requires(typename Op::Args a) {
  a.workspace;
};
template <class Op>
constexpr bool has_weights = requires(typename Op::Args a) {
  a.packed;
};

bool prepares_weights(const std::string& family) {
  bool found = false;
  for_each_family([&](auto op) { found |= family == decltype(op)::name && has_weights<decltype(op)>; });
  return found;
}

template <class Op>
State<Op>& state_of(std::size_t slot, const typename Op::Shape& of) {
  const auto& shape = shape_to_c(of);
  auto& states = slots<Op>().states[slot];
  for (auto i = states.begin(); i != states.end(); ++i)
    if (key(i->shape) == key(shape)) {
      states.splice(states.begin(), states, i);
      return states.front();
    }
  const rtfq_operator* op = slots<Op>().op[slot];
  states.emplace_front(shape, op);
  State<Op>& made = states.front();
  try {
    if (op->create) require_success<Op>(op->create(op, &made.shape, &made.state), op, "create");
    if (!has_workspace<Op>)
      if (const std::size_t bytes = workspace_of(made)) {
        made.workspace.reset(runtime::allocate_host(bytes));
        if (!made.workspace) throw std::bad_alloc();
      }
  } catch (...) {
    states.pop_front();
    throw;
  }
  if (states.size() > kept_states) states.pop_back();
  return made;
}

template <class Op, std::size_t slot>
const char* unsupported(const typename Op::Shape& of) {
  const rtfq_operator* op = slots<Op>().op[slot];
  const auto& shape = shape_to_c(of);
  const char* reason = op->unsupported ? op->unsupported(op, &shape) : nullptr;
  if (reason) slots<Op>().use[slot].refusal = reason;
  return reason;
}

template <class Op, std::size_t slot>
void launch(const typename Op::Shape& shape, const typename Op::Args& args, Stream stream) {
  State<Op>& s = state_of<Op>(slot, shape);
  const auto c = to_c(args, s.workspace.get());
  // The executor's stream is an object of ours, not a cudaStream_t: its plug-ins launch in order with
  // everything.
  void* handle = stream.device.backend == Backend::cuda ? stream.handle : nullptr;
  require_success<Op>(s.op->launch(s.op, s.state, &s.shape, &c, handle), s.op, "launch");
  ++slots<Op>().use[slot].launches;
  own_seconds = s.op->launch_seconds ? s.op->launch_seconds(s.op, s.state) : std::nan("");
}

template <class Op, std::size_t slot>
std::size_t workspace_bytes(const typename Op::Shape& shape) {
  return workspace_of(state_of<Op>(slot, shape));
}

template <class Op, std::size_t slot>
std::size_t packed_bytes(const typename Op::Shape& shape) {
  State<Op>& s = state_of<Op>(slot, shape);
  return s.op->prepared_bytes(s.op, s.state, &s.shape);
}

template <class Op, std::size_t slot>
void pack(const typename Op::Shape& shape, const void* weights, void* packed, Stream stream) {
  State<Op>& s = state_of<Op>(slot, shape);
  void* handle = stream.device.backend == Backend::cuda ? stream.handle : nullptr;
  require_success<Op>(s.op->prepare(s.op, s.state, &s.shape, weights, packed, handle), s.op, "prepare");
}

template <class Op, std::size_t slot>
typename Op::Impl implementation() {
  const rtfq_operator* op = slots<Op>().op[slot];
  typename Op::Impl impl{slots<Op>().name[slot].c_str(), unsupported<Op, slot>, launch<Op, slot>};
  if (has_workspace<Op> && op->workspace_bytes) impl.workspace_bytes = workspace_bytes<Op, slot>;
  if (op->prepare) {
    impl.packed_bytes = packed_bytes<Op, slot>;
    impl.pack = pack<Op, slot>;
  }
  return impl;
}

template <class Op, std::size_t... slot>
typename Op::Impl implementation(std::size_t which, std::index_sequence<slot...>) {
  using Make = typename Op::Impl (*)();
  static constexpr Make makers[] = {implementation<Op, slot>...};
  return makers[which]();
}

/// The operator's own list for a backend, or nothing.
template <class Op>
std::span<const typename Op::Impl> own_list(Backend backend) {
  try {
    return Op::implementations(backend);
  } catch (const std::runtime_error&) {
    return {};
  }
}

template <class Op>
void add(const rtfq_operator* op, const std::string& name, Backend backend) {
  auto& all = slots<Op>();
  if (all.used == slot_count)
    fail(std::string(Op::name) + " takes " + std::to_string(slot_count) + " plug-ins at once");
  const std::size_t slot = all.used++;
  all.op[slot] = op;
  all.name[slot] = name;
  auto& list = extended_lists<Op>[static_cast<std::size_t>(backend)];
  if (list.empty()) {
    const auto own = own_list<Op>(backend);
    list.assign(own.begin(), own.end());
  }
  list.push_back(implementation<Op>(slot, std::make_index_sequence<slot_count>()));
}

std::deque<Loaded>& all_loaded() {
  static std::deque<Loaded> all;
  return all;
}

/// Two files, or one, may offer the same name: the second becomes "plugin:NAME.2". `before`: what this file
/// offered so far.
std::string implementation_name(const std::vector<Offer>& before, const std::string& family,
                                const std::string& name) {
  const auto taken = [&](const std::string& candidate) {
    return find(family, candidate) || std::any_of(before.begin(), before.end(), [&](const Offer& o) {
             return o.family == family && o.implementation == candidate;
           });
  };
  std::string candidate = "plugin:" + name;
  for (int i = 2; taken(candidate); ++i) candidate = "plugin:" + name + "." + std::to_string(i);
  return candidate;
}

const rtfq_plugin* open_library(const std::string& file) {
  // A name without a slash would be searched for in the system's folders.
  const std::string path = std::filesystem::absolute(file).string();
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* said = ::dlerror();
    fail("cannot load " + file + ": " + (said ? said : "no reason given"));
  }
  using Entry = const rtfq_plugin* (*)(uint32_t);
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "rtfq_plugin_entry"));
  if (!entry)
    fail(file +
         " has no function rtfq_plugin_entry: it is no plug-in, or exports it under a C++ name (extern "
         "\"C\")");
  const rtfq_plugin* table = entry(RTFQ_PLUGIN_ABI);
  if (!table)
    fail(file + ": rtfq_plugin_entry answered NULL to ABI version " + std::to_string(RTFQ_PLUGIN_ABI));
  return table;
}

/// A number that a plug-in wrote may be none of the enumeration's, and must not be read as one before this.
template <class Enumeration>
void require_known(const Enumeration& member, const std::string& what,
                   std::initializer_list<const char*> names) {
  uint32_t value;
  static_assert(sizeof value == sizeof member);
  std::memcpy(&value, &member, sizeof value);
  if (value < names.size()) return;
  std::string list;
  for (const char* name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  fail(what + " " + std::to_string(value) + " is none of " + list);
}

Backend backend_of(rtfq_device device) {
  return device == RTFQ_CPU ? Backend::cpu : device == RTFQ_SIMT ? Backend::simt : Backend::cuda;
}

}  // namespace

std::vector<std::string> families() {
  std::vector<std::string> names;
  for_each_family([&](auto op) { names.emplace_back(decltype(op)::name); });
  return names;
}

double last_launch_seconds() {
  return own_seconds;
}

void check(const rtfq_plugin& table, const std::string& file) {
  if (table.abi != RTFQ_PLUGIN_ABI)
    fail(file + " was built for ABI version " + std::to_string(table.abi) + ", this program has version " +
         std::to_string(RTFQ_PLUGIN_ABI) + ": build it with this program's kernels/plugin.h");
  if (!table.count || !table.operators) fail(file + " offers no operators");
  const auto known = families();
  for (std::size_t i = 0; i < table.count; ++i) {
    const rtfq_operator* op = table.operators[i];
    const std::string where = file + ", operator " + std::to_string(i);
    if (!op || !op->family || !op->name || !*op->name) fail(where + " has no family or no name");
    const std::string family = op->family;
    if (std::find(known.begin(), known.end(), family) == known.end()) {
      std::string list;
      for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
      fail(where + ": there is no family '" + family + "' for plug-ins: they are " + list);
    }
    if (!op->launch) fail(where + " (" + family + ") has no launch function");
    if (!op->prepare != !op->prepared_bytes)
      fail(where + " (" + family + ") has one of prepare and prepared_bytes only");
    if (op->prepare && !prepares_weights(family))
      fail(where + " (" + family + ") has a prepare function, but this family has no weights to prepare");
    if (op->operand_count && !op->operands)
      fail(where + " (" + family + ") counts operands that are not there");
    const std::string its = where + " (" + family + "): ";
    require_known(op->device, its + "device", {"RTFQ_CPU", "RTFQ_CUDA_DEVICE", "RTFQ_SIMT"});
    require_known(op->scaling, its + "scaling", {"RTFQ_RECIPROCAL", "RTFQ_DIVISION", "RTFQ_EXACT"});
    require_known(op->ties, its + "ties", {"RTFQ_TIES_EVEN", "RTFQ_TIES_AWAY", "RTFQ_TIES_UP"});
    for (std::size_t k = 0; k < op->operand_count; ++k) {
      const rtfq_operand& operand = op->operands[k];
      const std::string name = its + "operand " + (operand.name ? operand.name : "?") + ": ";
      require_known(operand.layout, name + "layout",
                    {"RTFQ_LAYOUT_DENSE", "RTFQ_LAYOUT_NHWC", "RTFQ_LAYOUT_KRSC", "RTFQ_LAYOUT_STRIDED"});
      require_known(operand.nibbles, name + "nibbles",
                    {"RTFQ_BYTES", "RTFQ_LOW_NIBBLE_FIRST", "RTFQ_HIGH_NIBBLE_FIRST"});
      const char* of_nibbles = nibble_operand(family);
      const bool nibbles = of_nibbles && operand.name && operand.name == std::string(of_nibbles);
      if (nibbles != (operand.nibbles != RTFQ_BYTES))
        fail(name + (nibbles
                         ? "its codes are two a byte: declare RTFQ_LOW_NIBBLE_FIRST or RTFQ_HIGH_NIBBLE_FIRST"
                         : "codes are one a byte here, two a byte in int4.quantize (codes) and int4.conv2d "
                           "(weights)"));
    }
  }
}

const Loaded& load(const std::string& file) {
  for (const Loaded& one : all_loaded())
    if (one.file == file) return one;
  if (!std::filesystem::exists(file)) fail("there is no file " + file);
  const rtfq_plugin* table = file.ends_with(".py")     ? open_python(file)
                             : file.ends_with(".json") ? open_cubin(file)
                                                       : open_library(file);
  check(*table, file);
  Loaded result{file, table->name ? table->name : "", table->version ? table->version : "", {}};
  for (std::size_t i = 0; i < table->count; ++i) {
    const rtfq_operator* op = table->operators[i];
    const std::string name = implementation_name(result.offers, op->family, op->name);
    const Backend backend = backend_of(op->device);
    for_each_family([&](auto family) {
      if (op->family == std::string(decltype(family)::name)) add<decltype(family)>(op, name, backend);
    });
    result.offers.push_back({op->family, name, backend, op});
  }
  return all_loaded().emplace_back(std::move(result));
}

std::vector<Loaded> loaded() {
  return {all_loaded().begin(), all_loaded().end()};
}

const Offer* find(const std::string& family, const std::string& implementation) {
  for (const Loaded& one : all_loaded())
    for (const Offer& offer : one.offers)
      if (offer.family == family && offer.implementation == implementation) return &offer;
  return nullptr;
}

Use use_of(const Offer& offer) {
  Use use;
  for_each_family([&](auto op) {
    const auto& all = slots<decltype(op)>();
    for (std::size_t i = 0; i < all.used; ++i)
      if (all.op[i] == offer.op) use = all.use[i];
  });
  return use;
}

std::string declared_name(const Loaded& loaded, const Offer& wanted) {
  int before = 0;
  for (const Offer& offer : loaded.offers) {
    if (offer.op == wanted.op) break;
    before += offer.family == wanted.family && offer.backend == wanted.backend &&
              std::string(offer.op->name) == wanted.op->name;
  }
  return std::string(wanted.op->name) + (before ? "." + std::to_string(before + 1) : "");
}

std::pair<std::string, std::string> split_name(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos || std::filesystem::exists(text) || !std::filesystem::exists(text.substr(0, colon)))
    return {text, ""};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace rtfq::kernels::plugin
