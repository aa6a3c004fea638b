#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/command.h"
#include "training/config_schema.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string preset;
  std::vector<std::string> settings;
  bool list = false, schema = false;
};

/// The comment that a preset starts with, without its slashes.
std::string headline(const std::string& text) {
  const std::string line = text.substr(0, text.find('\n'));
  return line.rfind("// ", 0) == 0 ? line.substr(3) : "";
}

int print_config(const Options& options) {
  if (options.list) {
    for (const std::string& name : preset_names())
      std::printf("%-12s %s\n", name.c_str(), headline(preset_text(name)).c_str());
    return done;
  }
  if (options.schema) {
    std::printf("%s\n", print_json(schema::json_schema(), 2).c_str());
    return done;
  }
  const Config config = options.preset.empty()
                            ? as_usage([&] { return parse_config("{}", "defaults", options.settings); })
                            : load_config(options.preset, options.settings);
  std::fputs(commented(config).c_str(), stdout);
  return done;
}

}  // namespace

void add_config(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("config", "print a complete, commented configuration");
  command->add_option("preset", options->preset, "a preset or a configuration file; without it, all defaults")
      ->type_name("PRESET");
  command->add_option("--set", options->settings, "changes a key; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--list", options->list, "list the presets");
  command->add_flag("--schema", options->schema,
                    "print the JSON Schema (draft 2020-12) of configurations, for completion in editors");
  command->footer(
      "Examples:\n"
      "  rtfq config --schema > rtfq.schema.json\n"
      "  rtfq config mnist-usps --set data.source=digits/mnist --set data.target=digits/usps > m2u.jsonc");
  command->callback([&action, options] { action = [options] { return print_config(*options); }; });
}

}  // namespace rtfq::cli
