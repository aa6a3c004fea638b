#include "tools/command.h"

#include <cstdio>
#include <filesystem>
#include <new>

#include "kernels/runtime/device.h"

namespace rtfq::cli {

Config load_config(const std::string& file_or_preset, const std::vector<std::string>& settings) {
  return as_usage([&] {
    // A folder of data may be called like a preset.
    if (std::filesystem::exists(file_or_preset) && !std::filesystem::is_directory(file_or_preset))
      return read_config(file_or_preset, settings);
    std::string known;
    for (const std::string& name : preset_names()) {
      if (name == file_or_preset) return parse_config(preset_text(name), "preset " + name, settings);
      known += (known.empty() ? "" : ", ") + name;
    }
    throw std::invalid_argument("[config] there is no file " + file_or_preset +
                                ", nor a preset of that name: presets are " + known);
  });
}

void add_device(CLI::App& command, std::string& device) {
  command
      .add_option("--device", device,
                  "that computes: cpu, cuda or simt; without it cpu, wherever it was trained")
      ->type_name("DEVICE")
      ->check(CLI::IsMember({"cpu", "cuda", "simt"}));
}

OpenedRun open_run(const std::string& run_or_checkpoint, const std::string& device) {
  const FoundRun found = as_usage([&] { return find_run(run_or_checkpoint); });
  OpenedRun run{found.paths, found.checkpoint, load_bank(found.checkpoint, device)};
  const Config& config = run.bank.config;
  if (config.threads > 0) kernels::runtime::set_threads(config.threads);
  if (!run.bank.finished)
    note("training stopped at step " + std::to_string(run.bank.step) + " of " +
         std::to_string(config.train.steps) + ": the norms of most subnets are not calibrated yet");
  return run;
}

std::string explain(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error))
    return "[memory] out of memory: a smaller train.batch, data.cache_mib or bank.resolutions takes less";
  return error.what();
}

void note(const std::string& text) {
  std::fprintf(stderr, "rtfq: %s\n", text.c_str());
}

std::string shell_word(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::string("_-+=./:,@%").find(char(c)) != std::string::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace rtfq::cli
