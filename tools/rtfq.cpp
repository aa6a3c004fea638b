// The rtfq command line: subcommands, exit statuses. Results go to stdout, everything else to stderr.
#include <csignal>

#include "tools/command.h"

using namespace rtfq::cli;

namespace {

/// CLI11 calls an unknown first word a missing subcommand; people want to read which word it was.
void require_known_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::string known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == argv[1]) return;
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  throw UsageError("there is no command '" + std::string(argv[1]) + "': expected one of " + known);
}

std::string failure_message(const CLI::App* app, const CLI::Error& error) {
  std::string command = "rtfq";
  for (const CLI::App* parsed : app->get_subcommands()) command += " " + parsed->get_name();
  return "rtfq: " + std::string(error.what()) + "; `" + command + " --help` explains\n";
}

}  // namespace

int main(int argc, char** argv) {
  program = shell_word(argv[0]);
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error to report, not an end without a word
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
      "  rtfq predict runs/first photos         class and probability of images\n"
      "  rtfq report runs/first                 all of it as one HTML page\n"
      "  rtfq pack runs/first --bank -o m.rtfq  one small file that runs on integers, for a device\n"
      "  rtfq infer m.rtfq photos --macs 5M     the same answers from that file alone\n"
      "\n"
      "Exit status: 0 done, 2 bad usage, 3 nothing fits the limit, 75 interrupted and saved, 1 otherwise.\n"
      "`rtfq COMMAND --help` explains a command.");
  Action action;
  for (const auto add : {add_train, add_config, add_eval, add_measure, add_select, add_predict, add_calibrate,
                         add_quantize, add_info, add_report, add_experiment, add_benchmark, add_import,
                         add_forward, add_export, add_pack, add_infer, add_switch})
    add(app, action);
  app.failure_message(failure_message);
  try {
    require_known_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const UsageError& error) {
    note(error.what());
    return bad_usage;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : bad_usage;
  }
  try {
    return action();
  } catch (const UsageError& error) {
    note(error.what());
    return bad_usage;
  } catch (const std::exception& error) {
    note(explain(error));
    return failed;
  }
}
