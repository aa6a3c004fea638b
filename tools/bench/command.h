#pragma once
// What the subcommands of rtfq-bench share; each lives in a file cmd_NAME.cpp.

#include "tools/bench/item.h"
#include "tools/bench/selection.h"
#include "tools/command.h"

namespace rtfq::lab {

void add_list(CLI::App&, cli::Action&);
void add_run(CLI::App&, cli::Action&);
void add_compare(CLI::App&, cli::Action&);
void add_machine(CLI::App&, cli::Action&);
void add_report(CLI::App&, cli::Action&);
void add_check(CLI::App&, cli::Action&);
void add_new_plugin(CLI::App&, cli::Action&);

/// A note for people on stderr: "rtfq-bench: TEXT".
void note(const std::string& text);

/// Options that say what is measured, shared by run and compare.
void add_shape_options(CLI::App&, Selection&);
/// Options that say how.
void add_setting_options(CLI::App&, Settings&);

/// "10%" or "0.1" as 0.1; throws cli::UsageError.
double parse_share(const std::string& text, const char* option);

}  // namespace rtfq::lab
