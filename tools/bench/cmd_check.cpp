#include <cmath>
#include <cstdio>
#include <map>

#include "tools/bench/command.h"
#include "tools/bench/results.h"
#include "tools/bench/statistics.h"
#include "tools/table.h"

namespace rtfq::lab {
namespace {

constexpr double confidence = 0.99;

int check(const std::string& old_file, const std::string& new_file, const std::string& slower_text) {
  const double slower = parse_share(slower_text, "--slower");
  const Results before = cli::as_usage([&] { return read_results(old_file); }),
                after = cli::as_usage([&] { return read_results(new_file); });
  std::map<std::string, const Row*> known;
  for (const Row& row : before.rows) known[row.item.name()] = &row;
  for (const char* fact : {"cpu", "threads"})
    if (before.environment.at(fact) != after.environment.at(fact))
      note(std::string("warning: ") + fact + " differs: " + before.environment.at(fact) + " and " +
           after.environment.at(fact));
  std::vector<std::vector<std::string>> rows{{"row", "old", "new", "new/old", "verdict"}};
  int worse = 0, compared = 0;
  for (const Row& row : after.rows) {
    const auto found = known.find(row.item.name());
    if (found == known.end()) continue;
    const Row& old = *found->second;
    known.erase(found);
    if (usable(old.outcome) && !usable(row.outcome)) {
      rows.push_back(
          {row.item.name(), to_string(old.outcome), to_string(row.outcome), "-", "no longer right"});
      ++worse;
      continue;
    }
    if (row.seconds.empty() || old.seconds.empty()) continue;
    ++compared;
    const double ratio = row.median() / old.median();
    // More than the share allowed, and more than the noise of both.
    const bool apart =
        median_interval(row.seconds, confidence).low > median_interval(old.seconds, confidence).high;
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", ratio);
    const bool is_slower = ratio > 1 + slower && apart;
    worse += is_slower;
    rows.push_back({row.item.name(), time_text(old.median()), time_text(row.median()), text,
                    is_slower            ? "slower"
                    : ratio > 1 + slower ? "slower, but within the noise"
                    : ratio < 1 - slower ? "faster"
                                         : "as before"});
  }
  std::fputs(cli::table(rows).c_str(), stdout);
  for (const auto& [name, row] : known) note("only in " + old_file + ": " + name);
  if (!compared && !worse) throw cli::UsageError("[check] the two files have no timed row in common");
  note(std::to_string(compared) + " rows compared, " + std::to_string(worse) + " worse");
  return worse ? cli::failed : cli::done;
}

}  // namespace

void add_check(CLI::App& app, cli::Action& action) {
  struct Options {
    std::string before, after, slower = "10%";
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "is anything slower than it was?");
  command->add_option("old", options->before, "results of before")->required()->type_name("OLD.json");
  command->add_option("new", options->after, "results of now")->required()->type_name("NEW.json");
  command->add_option("--slower", options->slower, "that is allowed (default 10%)");
  command->footer(
      "A row is slower when its median is by more than that, and the 99 % intervals of both medians lie "
      "apart.\n"
      "Exit status 1 when one is, or a kernel that was right is no more.\n\n"
      "Example:\n  rtfq-bench check old.json new.json --slower 10%");
  command->callback([&action, options] {
    action = [options] { return check(options->before, options->after, options->slower); };
  });
}

}  // namespace rtfq::lab
