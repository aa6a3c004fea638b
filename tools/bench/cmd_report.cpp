#include <filesystem>

#include "engine/atomic_file.h"
#include "tools/bench/command.h"
#include "tools/bench/page.h"

namespace rtfq::lab {

void add_report(CLI::App& app, cli::Action& action) {
  struct Options {
    std::vector<std::string> files;
    std::string out;
    bool markdown = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("report", "results as one HTML page: roofline, bars, files side by side");
  command->add_option("results", options->files, "files of `rtfq-bench run --json`")
      ->required()
      ->type_name("FILE.json");
  command->add_option("-o,--out", options->out, "the page")->required()->type_name("FILE");
  command->add_flag("--markdown", options->markdown,
                    "a Markdown table of one file instead, the worst rows first");
  command->footer(
      "Examples:\n  rtfq-bench report today.json -o report.html\n  rtfq-bench report old.json new.json -o "
      "both.html\n"
      "  rtfq-bench report today.json --markdown -o docs/results/kernels-cpu.md");
  command->callback([&action, options] {
    action = [options] {
      std::vector<NamedResults> all;
      for (const std::string& file : options->files)
        all.push_back(
            {std::filesystem::path(file).stem().string(), cli::as_usage([&] { return read_results(file); })});
      if (options->markdown && all.size() != 1) throw cli::UsageError("[report] --markdown is of one file");
      write_file_atomically(options->out,
                            options->markdown ? results_markdown(all.front().results) : results_page(all));
      note("wrote " + options->out);
      return static_cast<int>(cli::done);
    };
  });
}

}  // namespace rtfq::lab
