#include <cstdio>

#include "kernels/catalog/custom.h"
#include "tools/bench/command.h"
#include "tools/table.h"

namespace rtfq::lab {
namespace {

struct Options {
  std::vector<std::string> ops, plugins;
  bool cases = false;
};

int list(const Options& options) {
  Selection selection;
  for (const std::string& file : options.plugins)
    selection.implementations.push_back(file.rfind("plugin:", 0) == 0 ? file : "plugin:" + file);
  std::vector<std::string> files;
  for (const std::string& word : selection.implementations) files.push_back(word.substr(7));
  const auto known = cli::as_usage([&] { return offers(files); });
  const auto wanted = [&](const std::string& op) {
    return options.ops.empty() || std::find(options.ops.begin(), options.ops.end(), op) != options.ops.end();
  };
  if (options.cases) {
    for (const std::string& op : operators())
      if (wanted(op))
        for (const CaseName& one : cases_of(op))
          std::printf("%s %s%s: %s\n", op.c_str(), one.name.c_str(), one.large ? " (large)" : "",
                      one.large ? "of a network" : case_description(op, one.name).c_str());
    return cli::done;
  }
  if (!options.plugins.empty()) {
    for (const Offered& one : known)
      if (!one.file.empty() && wanted(one.op))
        std::printf("%s of %s: %s on %s%s%s\n", one.implementation.c_str(), one.file.c_str(), one.op.c_str(),
                    one.device.c_str(), one.rounding.empty() ? "" : ", rounds: ", one.rounding.c_str());
    return cli::done;
  }
  std::vector<std::vector<std::string>> rows{{"operator", "device", "cases", "implementations"}};
  std::vector<std::pair<std::string, std::string>> shapes;  // dims, and the operators that take them
  for (const std::string& op : operators()) {
    if (!wanted(op)) continue;
    for (const char* device : {"cpu", "simt", "cuda"}) {
      std::string names;
      for (const Offered& one : known)
        if (one.op == op && one.device == device) names += (names.empty() ? "" : ", ") + one.implementation;
      if (names.empty()) continue;
      const bool first = rows.back()[0] != op;
      rows.push_back({first ? op : "", device, first ? std::to_string(cases_of(op).size()) : "", names});
    }
    const std::string dims = kernels::catalog::dims_text(op);
    if (dims.empty()) continue;
    const auto same =
        std::find_if(shapes.begin(), shapes.end(), [&](const auto& one) { return one.first == dims; });
    if (same == shapes.end())
      shapes.emplace_back(dims, op);
    else
      same->second += ", " + op;
  }
  std::fputs(cli::table(rows).c_str(), stdout);
  if (!shapes.empty()) std::printf("\nShapes of your own:\n");
  for (const auto& [dims, ops] : shapes) std::printf("  %s\n      %s\n", dims.c_str(), ops.c_str());
  return cli::done;
}

}  // namespace

void add_list(CLI::App& app, cli::Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("list", "operators, their implementations, devices and cases");
  command->add_option("plugins", options->plugins, "plug-ins: only what they declare")->type_name("FILE");
  command->add_option("--op", options->ops, "only this operator; may be given again")
      ->allow_extra_args(false);
  command->add_flag("--cases", options->cases, "the catalog's cases and their shapes instead");
  command->footer(
      "Examples:\n  rtfq-bench list\n  rtfq-bench list ./my.so          does it load, what does it declare?\n"
      "  rtfq-bench list --op conv2d.forward --cases");
  command->callback([&action, options] { action = [options] { return list(*options); }; });
}

}  // namespace rtfq::lab
