// The rtfq command line: subcommands, exit statuses. Results go to stdout, everything else to stderr.
#include "tools/command.h"

using namespace rtfq::cli;

int main(int argc, char** argv) {
  CLI::App app{
      "rtfq trains one quantized network for every device: labelled source images, unlabelled target "
      "images,\n"
      "and a bank of subnets that trade accuracy for cost without retraining.",
      "rtfq"};
  app.set_version_flag("--version", "rtfq " RTFQ_VERSION);
  app.require_subcommand(1);
  app.footer(
      "A tour:\n"
      "  rtfq config glyphs > my.jsonc          a complete, commented configuration to start from\n"
      "  rtfq train my.jsonc --out runs/first   train; Ctrl-C saves, --resume goes on\n"
      "  rtfq eval runs/first --all             accuracy and cost of every subnet\n"
      "  rtfq select runs/first --bitops 100M   the best one within a budget\n"
      "\n"
      "Exit status: 0 done, 2 bad usage, 3 nothing fits the limit, 75 interrupted and saved, 1 otherwise.\n"
      "`rtfq COMMAND --help` explains a command.");
  Action action;
  for (const auto add : {add_train, add_config, add_eval, add_select, add_calibrate, add_info})
    add(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : bad_usage;
  }
  try {
    return action();
  } catch (const UsageError& error) {
    note(error.what());
    return bad_usage;
  } catch (const std::exception& error) {
    note(error.what());
    return failed;
  }
}
