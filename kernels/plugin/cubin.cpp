#include "kernels/plugin/cubin.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/plugin/cubin_arguments.h"
#include "kernels/plugin/cubin_file.h"
#include "kernels/plugin/cuda_driver.h"

namespace rtfq::kernels::plugin {
namespace {

using json = nlohmann::json;

[[noreturn]] void fail(const std::string& file, const std::string& text) {
  throw std::runtime_error("[plugin] " + file + ": " + text);
}

std::string read(const std::string& file) {
  std::error_code error;  // a folder, or a device that never ends
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    fail(file, "is not a file that can be read whole");
  std::ifstream in(file, std::ios::binary);
  if (!in) fail(file, "cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A described kernel; `op` is the table's own entry, so that its functions find the rest behind it.
struct CubinOperator {
  rtfq_operator op{};
  std::string family, name, kernel;
  const CubinFamily* members = nullptr;
  rtfq_dtype type = RTFQ_F32;
  std::vector<const CubinArgument*> arguments;
  std::vector<std::size_t> sizes;  ///< of the kernel's parameters
  int64_t threads = 0, shared_bytes = 0, elements_per_block = 0;
  std::string cubin;  ///< its bytes
  DriverKernel* loaded = nullptr;
  std::string refusal, error;

  bool has(const std::string& argument) const {
    return std::any_of(arguments.begin(), arguments.end(),
                       [&](const CubinArgument* one) { return argument == one->name; });
  }
  int64_t blocks(const void* shape) const {
    return (members->elements(shape) + elements_per_block - 1) / elements_per_block;
  }
};

CubinOperator& of(const rtfq_operator* self) {
  // The table is this file's own, and its entries are not constant.
  return *reinterpret_cast<CubinOperator*>(const_cast<rtfq_operator*>(self));
}

/// Runs `body`; what it throws becomes the operator's error and 1.
template <class Body>
int answer(const rtfq_operator* self, Body&& body) {
  try {
    body(of(self));
    return 0;
  } catch (const std::exception& error) {
    of(self).error = error.what();
    return 1;
  }
}

const char* unsupported(const rtfq_operator* self, const void* shape) {
  CubinOperator& its = of(self);
  its.refusal.clear();
  if (its.members->type(shape) != its.type) its.refusal = "described for another type ('dtype')";
  for (const std::string& name : its.members->needed(shape))
    if (!its.has(name)) its.refusal = "its arguments have no '" + name + "', which this shape needs";
  if (its.blocks(shape) > std::numeric_limits<int32_t>::max()) its.refusal = "more blocks than a grid has";
  for (std::size_t i = 0; i < its.arguments.size(); ++i)
    if (!its.arguments[i]->pointer && its.sizes[i] == sizeof(int32_t) &&
        its.arguments[i]->read(shape, nullptr).number > std::numeric_limits<int32_t>::max())
      its.refusal =
          "its '" + std::string(its.arguments[i]->name) + "' is of 32 bits, and this shape's is longer";
  return its.refusal.empty() ? nullptr : its.refusal.c_str();
}

int create(const rtfq_operator* self, const void*, void**) {
  return answer(self, [](CubinOperator& its) {
    if (!its.loaded) its.loaded = load_kernel(its.cubin, its.kernel);
  });
}

int launch(const rtfq_operator* self, void*, const void* shape, const void* arguments, void* stream) {
  return answer(self, [&](CubinOperator& its) {
    // Of two outputs either may be unwanted; one that is wanted must be written.
    for (const CubinArgument& one : its.members->arguments)
      if (one.pointer && !its.has(one.name) && one.read(shape, arguments).pointer)
        throw std::runtime_error("'" + std::string(one.name) +
                                 "' is given, and the kernel's arguments do not name it");
    const int64_t blocks = its.blocks(shape);
    if (blocks == 0) return;
    std::vector<CubinValue> values;
    std::vector<void*> addresses;
    for (const CubinArgument* one : its.arguments) values.push_back(one->read(shape, arguments));
    for (CubinValue& value : values) addresses.push_back(&value);
    launch_kernel(its.loaded, {static_cast<unsigned>(blocks), static_cast<unsigned>(its.threads),
                               static_cast<unsigned>(its.shared_bytes), addresses.data(), stream});
  });
}

const char* last_error(const rtfq_operator* self) {
  return of(self).error.c_str();
}

/// The value that `names` has for a member's text, which is `otherwise` where the description is silent.
template <class Value>
Value choice(const std::string& file, const json& d, const char* key, const char* otherwise,
             std::initializer_list<std::pair<const char*, Value>> names) {
  const auto given = d.value(key, std::string(otherwise));
  std::string list;
  for (const auto& [name, value] : names) {
    if (given == name) return value;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  fail(file, "'" + std::string(key) + "' expects one of " + list + ", got '" + given + "'");
}

int64_t number(const std::string& file, const json& d, const char* key, int64_t least, int64_t most,
               const char* what) {
  const auto given = d.at(key).get<int64_t>();
  if (given < least || given > most)
    fail(file, "'" + std::string(key) + "' expects " + what + ", got " + std::to_string(given));
  return given;
}

/// The kernel's code, and its arguments beside its parameters.
void read_kernel(const std::string& file, const json& d, CubinOperator& made) {
  const auto cubin = (std::filesystem::path(file).parent_path() / d.at("cubin").get<std::string>()).string();
  made.cubin = read(cubin);
  made.kernel = d.at("kernel");
  std::vector<CubinKernel> kernels;
  try {
    kernels = kernels_of(made.cubin);
  } catch (const std::runtime_error& error) {
    fail(cubin, error.what());
  }
  const auto found = std::find_if(kernels.begin(), kernels.end(),
                                  [&](const CubinKernel& one) { return one.name == made.kernel; });
  if (found == kernels.end()) {
    std::string list;
    for (const CubinKernel& one : kernels) list += (list.empty() ? "" : ", ") + one.name;
    fail(cubin, "has no kernel " + made.kernel + ", it has " + (list.empty() ? "none" : list));
  }
  for (const json& name : d.at("arguments")) {
    const CubinArgument* known = made.members->find(name.get<std::string>());
    if (!known) fail(file, "unknown argument " + name.dump() + " (docs/lab.md lists them)");
    made.arguments.push_back(known);
  }
  made.sizes = found->parameters;
  if (made.sizes.size() != made.arguments.size())
    fail(file, "'arguments' names " + std::to_string(made.arguments.size()) + ", " + made.kernel + " takes " +
                   std::to_string(made.sizes.size()) + " parameters");
  for (std::size_t i = 0; i < made.sizes.size(); ++i)
    if (made.sizes[i] != 8 && (made.arguments[i]->pointer || made.sizes[i] != 4))
      fail(file, "argument " + std::to_string(i) + ", '" + made.arguments[i]->name + "', is " +
                     (made.arguments[i]->pointer ? "a pointer of 8 bytes" : "a number of 4 or 8 bytes") +
                     ", the kernel's parameter has " + std::to_string(made.sizes[i]));
}

void read_operator(const std::string& file, const json& d, CubinOperator& made) {
  made.family = d.at("family");
  made.name = d.at("name");
  made.members = cubin_family(made.family);
  if (!made.members)
    fail(file, "launch descriptions are for " + cubin_families() + ", got '" + made.family + "'");
  made.type = choice<rtfq_dtype>(file, d, "dtype", "f32",
                                 {{"f32", RTFQ_F32}, {"bf16", RTFQ_BF16}, {"f16", RTFQ_F16}});
  made.op.scaling = choice<rtfq_scaling>(
      file, d, "scaling", "reciprocal",
      {{"reciprocal", RTFQ_RECIPROCAL}, {"division", RTFQ_DIVISION}, {"exact", RTFQ_EXACT}});
  made.op.ties = choice<rtfq_ties>(
      file, d, "ties", "even", {{"even", RTFQ_TIES_EVEN}, {"away", RTFQ_TIES_AWAY}, {"up", RTFQ_TIES_UP}});
  made.threads = number(file, d, "block", 1, 1024, "1 to 1024 threads");
  made.elements_per_block = number(file, d, "elements_per_block", 1, std::numeric_limits<int32_t>::max(),
                                   "a positive number of 32 bits");
  if (d.contains("shared_bytes"))
    made.shared_bytes = number(file, d, "shared_bytes", 0, 232448, "at most 232448 bytes");
  read_kernel(file, d, made);
}

struct Table {
  std::deque<CubinOperator> operators;
  std::vector<const rtfq_operator*> pointers;
  std::string name;
  rtfq_plugin plugin{};
};

}  // namespace

const rtfq_plugin* open_cubin(const std::string& file) {
  static std::deque<Table> tables;
  const json described = json::parse(read(file), nullptr, false, true);
  if (described.is_discarded() || !described.is_object()) fail(file, "is not a JSON object");
  Table table;
  try {
    for (const json& d : described.at("kernels")) read_operator(file, d, table.operators.emplace_back());
  } catch (const json::exception& error) {
    fail(file, error.what());
  }
  Table& kept = tables.emplace_back(std::move(table));
  for (CubinOperator& made : kept.operators) {
    made.op.family = made.family.c_str();
    made.op.name = made.name.c_str();
    made.op.device = RTFQ_CUDA_DEVICE;
    made.op.unsupported = unsupported;
    made.op.create = create;
    made.op.launch = launch;
    made.op.error = last_error;
    kept.pointers.push_back(&made.op);
  }
  kept.name = std::filesystem::path(file).filename().string();
  kept.plugin = {RTFQ_PLUGIN_ABI, 0, kept.name.c_str(), "", kept.pointers.size(), kept.pointers.data()};
  return &kept.plugin;
}

}  // namespace rtfq::kernels::plugin
