#include <cstdio>
#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/table.h"

namespace rtfq::cli {
namespace {

/// One of the costs that a device can limit.
struct Measure {
  const char* name;
  int64_t SubnetCost::*cost;
  std::string limit = {};
};

struct Options {
  std::string run;
  std::vector<Measure> measures{
      {"macs", &SubnetCost::macs}, {"bitops", &SubnetCost::bitops}, {"bytes", &SubnetCost::bytes}};
};

/// Higher accuracy, or the same at fewer BitOPs.
bool better(const SubnetScore& a, const SubnetScore& b) {
  if (*a.accuracy != *b.accuracy) return *a.accuracy > *b.accuracy;
  return a.cost.bitops < b.cost.bitops;
}

int select_subnet(const Options& options) {
  std::vector<std::pair<const Measure*, double>> limits;
  for (const Measure& measure : options.measures)
    if (!measure.limit.empty())
      limits.emplace_back(&measure, as_usage([&] { return parse_quantity(measure.limit); }));
  const RunPaths paths = as_usage([&] { return find_run(options.run); }).paths;
  const std::vector<SubnetScore> scores = read_scores(paths.subnets());
  if (std::filesystem::last_write_time(paths.subnets()) <
      std::filesystem::last_write_time(paths.checkpoint()))
    note("the checkpoint is newer than " + paths.subnets() + ": `" + program + " eval " +
         shell_word(options.run) + " --all` measures it anew");

  const SubnetScore* best = nullptr;
  for (const SubnetScore& score : scores) {
    if (!score.accuracy)
      throw std::runtime_error("[select] " + paths.subnets() +
                               " has no accuracies: run `rtfq eval RUN --all --data DIR` on labelled images");
    bool fits = true;
    for (const auto& [measure, limit] : limits)
      fits = fits && static_cast<double>(score.cost.*measure->cost) <= limit;
    if (fits && (!best || better(score, *best))) best = &score;
  }
  if (best) {
    std::fputs(score_table({*best}).c_str(), stdout);
    return done;
  }
  std::string smallest;
  for (const auto& [measure, limit] : limits) {
    int64_t least = INT64_MAX;
    for (const SubnetScore& score : scores) least = std::min(least, score.cost.*measure->cost);
    smallest += (smallest.empty() ? "" : ", ") + std::string(measure->name) + " " + quantity(limit) +
                " (the smallest needs " + std::to_string(least) + ")";
  }
  note("[select] no subnet of " + options.run + " fits " + smallest);
  return nothing_fits;
}

}  // namespace

void add_select(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("select", "the most accurate subnet within a budget, from RUN/subnets.json");
  command->add_option("run", options->run, "folder of a run after `rtfq eval RUN --all`")
      ->required()
      ->type_name("RUN");
  CLI::Option_group* limits = command->add_option_group("limits", "at least one; several hold together");
  limits->add_option("--macs", options->measures[0].limit, "multiply-adds for one image")->type_name("LIMIT");
  limits->add_option("--bitops", options->measures[1].limit, "MACs x bits of weights x bits of activations")
      ->type_name("LIMIT");
  limits->add_option("--bytes", options->measures[2].limit, "packed weights with steps and norms")
      ->type_name("LIMIT");
  limits->require_option(1, 3);
  command->footer(
      "A LIMIT is a number with an optional K, M, G or T (powers of 1000) or Ki, Mi, Gi.\n"
      "Exit status 3 when nothing fits.\n"
      "\n"
      "Example:\n"
      "  rtfq select runs/m2u --bitops 100M --bytes 256Ki");
  command->callback([&action, options] { action = [options] { return select_subnet(*options); }; });
}

}  // namespace rtfq::cli
