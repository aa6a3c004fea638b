#include "kernels/plugin/cubin.h"

#include <elf.h>

#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

namespace rtfq::kernels::plugin {
namespace {

using json = nlohmann::json;

constexpr int machine_cuda = 190;  // EM_CUDA

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

/// Names of the kernels in a cubin: each has its code in a section ".text.NAME".
std::vector<std::string> kernels_of(const std::string& file, const std::string& bytes) {
  Elf64_Ehdr head;
  if (bytes.size() < sizeof head || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0)
    fail(file, "expected a cubin, which is an ELF file, and this is none");
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != machine_cuda)
    fail(file, "expected an ELF file for CUDA, got one for machine " + std::to_string(head.e_machine));
  const auto section = [&](std::size_t i) {
    Elf64_Shdr s;
    const std::size_t at = head.e_shoff + i * sizeof s;
    if (at > bytes.size() || bytes.size() - at < sizeof s) fail(file, "the cubin is cut off");
    std::memcpy(&s, bytes.data() + at, sizeof s);
    return s;
  };
  const Elf64_Shdr names = section(head.e_shstrndx);
  std::vector<std::string> found;
  for (std::size_t i = 0; i < head.e_shnum; ++i) {
    const std::size_t at = names.sh_offset + section(i).sh_name;
    if (at >= bytes.size()) fail(file, "the cubin is cut off");
    const std::string name(bytes.data() + at, ::strnlen(bytes.data() + at, bytes.size() - at));
    if (name.rfind(".text.", 0) == 0) found.push_back(name.substr(6));
  }
  return found;
}

struct CubinOperator {
  rtfq_operator op{};
  std::string family, name, refusal;
};

struct Table {
  std::deque<CubinOperator> operators;
  std::vector<const rtfq_operator*> pointers;
  std::string name;
  rtfq_plugin plugin{};
};

/// What a launch description of fakequant.forward may pass to its kernel, in the order of its "arguments".
constexpr const char* argument_names[] = {"x",  "step", "y",      "codes", "count",      "qn",
                                          "qp", "rows", "groups", "cols",  "row_stride", "group_stride"};

void check_launch(const std::string& file, const json& d) {
  const int64_t threads = d.at("block").get<int64_t>(), shared = d.value("shared_bytes", int64_t{0});
  if (threads < 1 || threads > 1024)
    fail(file, "'block' expects 1 to 1024 threads, got " + std::to_string(threads));
  if (shared < 0 || shared > 232448)
    fail(file, "'shared_bytes' expects at most 232448, got " + std::to_string(shared));
  if (d.at("elements_per_block").get<int64_t>() < 1)
    fail(file, "'elements_per_block' expects a positive number");
  for (const json& argument : d.at("arguments")) {
    const bool known = std::any_of(std::begin(argument_names), std::end(argument_names),
                                   [&](const char* name) { return argument == name; });
    if (!known) fail(file, "unknown argument " + argument.dump() + " (docs/lab.md lists them)");
  }
}

}  // namespace

const rtfq_plugin* open_cubin(const std::string& file) {
  static std::deque<Table> tables;
  const json described = json::parse(read(file), nullptr, false, true);
  if (described.is_discarded() || !described.is_object()) fail(file, "is not a JSON object");
  Table table;
  try {
    for (const json& d : described.at("kernels")) {
      const auto cubin =
          (std::filesystem::path(file).parent_path() / d.at("cubin").get<std::string>()).string();
      const std::string kernel = d.at("kernel");
      const auto found = kernels_of(cubin, read(cubin));
      if (std::find(found.begin(), found.end(), kernel) == found.end()) {
        std::string list;
        for (const std::string& name : found) list += (list.empty() ? "" : ", ") + name;
        fail(cubin, "has no kernel " + kernel + ", it has " + (list.empty() ? "none" : list));
      }
      check_launch(file, d);
      CubinOperator& made = table.operators.emplace_back();
      made.family = d.at("family");
      if (made.family != "fakequant.forward")
        fail(file,
             "launch descriptions are for fakequant.forward in this version, got '" + made.family + "'");
      made.name = d.at("name");
      made.op.scaling = d.value("scaling", "reciprocal") == "division" ? RTFQ_DIVISION : RTFQ_RECIPROCAL;
    }
  } catch (const json::exception& error) {
    fail(file, error.what());
  }
  Table& kept = tables.emplace_back(std::move(table));
  for (CubinOperator& made : kept.operators) {
    made.op.family = made.family.c_str();
    made.op.name = made.name.c_str();
    made.op.device = RTFQ_CUDA_DEVICE;
    made.op.unsupported = [](const rtfq_operator*, const void*) {
      return "launching cubins is not part of this build: loaded and checked only";
    };
    made.op.launch = [](const rtfq_operator*, void*, const void*, const void*, void*) { return 1; };
    made.op.error = [](const rtfq_operator*) { return "launching cubins is not part of this build"; };
    kept.pointers.push_back(&made.op);
  }
  kept.name = std::filesystem::path(file).filename().string();
  kept.plugin = {RTFQ_PLUGIN_ABI, 0, kept.name.c_str(), "", kept.pointers.size(), kept.pointers.data()};
  return &kept.plugin;
}

}  // namespace rtfq::kernels::plugin
