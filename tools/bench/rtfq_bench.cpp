// The rtfq-bench command line. Results go to stdout, everything else to stderr.
#include <cstdio>
#include <cstring>

#include "tools/bench/command.h"
#include "tools/bench/worker.h"

using namespace rtfq;
using namespace rtfq::lab;

namespace {

std::string failure_message(const CLI::App* app, const CLI::Error& error) {
  std::string command = "rtfq-bench";
  for (const CLI::App* parsed : app->get_subcommands()) command += " " + parsed->get_name();
  return "rtfq-bench: " + std::string(error.what()) + "; `" + command + " --help` explains\n";
}

}  // namespace

namespace rtfq::lab {

void note(const std::string& text) {
  std::fprintf(stderr, "rtfq-bench: %s\n", text.c_str());
}

}  // namespace rtfq::lab

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "worker") == 0) return serve_worker();
  program = cli::shell_word(argv[0]);
  CLI::App app{"rtfq-bench tells whether a kernel is right and how fast it is: yours, ours, the library's.",
               "rtfq-bench"};
  app.set_version_flag("--version", "rtfq-bench " RTFQ_VERSION);
  app.require_subcommand(1);
  app.footer(
      "A tour:\n"
      "  rtfq-bench new-plugin fakequant.forward --lang c && make -C fakequant-forward\n"
      "  rtfq-bench run --op fakequant.forward --impl ours,plugin:fakequant-forward/plugin.so\n"
      "  rtfq-bench compare --op fakequant.forward --a ours --b plugin:fakequant-forward/plugin.so\n"
      "  rtfq-bench run --suite quick --json today.json && rtfq-bench report today.json -o report.html\n"
      "\n"
      "Exit status: 0 done, 1 a kernel is wrong, crashed or slower than allowed, 2 bad usage.\n"
      "`rtfq-bench COMMAND --help` explains a command; docs/lab.md has the whole story.");
  cli::Action action;
  for (const auto add : {add_list, add_run, add_compare, add_machine, add_report, add_check, add_new_plugin})
    add(app, action);
  app.failure_message(failure_message);
  try {
    app.parse(argc, argv);
  } catch (const cli::UsageError& error) {
    note(error.what());
    return cli::bad_usage;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::done : cli::bad_usage;
  }
  try {
    return action();
  } catch (const cli::UsageError& error) {
    note(error.what());
    return cli::bad_usage;
  } catch (const std::exception& error) {
    note(error.what());
    return cli::failed;
  }
}
