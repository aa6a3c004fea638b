#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "tools/command.h"
#include "tools/packed_file.h"
#include "tools/table.h"
#include "training/selection.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, criterion = criteria().front().name;
  std::vector<std::string> limits =
      std::vector<std::string>(cost_kinds().size());  ///< in the order of cost_kinds()
  std::vector<std::string> pareto;
  bool json = false, criterion_given = false;
};

std::vector<Limit> limits_of(const Options& options) {
  std::vector<Limit> limits;
  for (std::size_t i = 0; i < options.limits.size(); ++i)
    if (!options.limits[i].empty())
      limits.push_back({&cost_kinds()[i], as_usage([&] { return parse_quantity(options.limits[i]); })});
  return limits;
}

std::vector<const CostKind*> costs_of(const std::vector<std::string>& names) {
  std::vector<const CostKind*> costs;
  for (const std::string& name : names) costs.push_back(as_usage([&] { return &cost_kind(name); }));
  return costs;
}

/// "accuracy on the source, percent (images of the training: data.source_hold_out is 0)".
std::string meaning(const Criterion& criterion, const SubnetScore& score) {
  if (criterion.name != "source-val") return criterion.words;
  return criterion.words + (score.source_held_out
                                ? ", on images kept out of training"
                                : ", on the images of the training (data.source_hold_out is 0)");
}

std::string latency_origin(const std::vector<SubnetScore>& scores) {
  for (const SubnetScore& score : scores)
    if (score.latency)
      return "batch " + std::to_string(score.latency->batch) + ", " + std::to_string(score.latency->threads) +
             " thread(s), " + score.latency->machine;
  return {};
}

void print_json_answer(const std::vector<SubnetScore>& chosen, const Criterion& criterion,
                       const std::string& words, const std::vector<Limit>& limits,
                       const std::vector<const CostKind*>& front) {
  Json answer;
  answer["criterion"] = criterion.name;
  answer["criterion_meaning"] = words;
  answer["limits"] = Json::object();
  for (const Limit& limit : limits) answer["limits"][limit.cost->name] = limit.value;
  if (!front.empty()) {
    answer["pareto"] = Json::array();
    for (const CostKind* cost : front) answer["pareto"].push_back(cost->name);
  }
  answer["subnets"] = parse_json(scores_json(chosen));
  std::printf("%s\n", print_json(answer, 1).c_str());
}

std::string what_does_not_fit(const std::vector<SubnetScore>& scores, const std::vector<Limit>& limits) {
  std::string text;
  for (const Limit& limit : limits) {
    const CostKind* cost = limit.cost;
    double least = *cost->of(scores.front());
    for (const SubnetScore& score : scores) least = std::min(least, *cost->of(score));
    // Milliseconds may be below 1, where quantities would be rounded.
    const auto shown = [&](double amount) {
      char exact[32];
      std::snprintf(exact, sizeof exact, cost->unit == "ms" ? "%.4g" : "%.0f", amount);
      return std::string(exact);
    };
    text += (text.empty() ? "" : ", ") + cost->name + " " +
            (cost->unit == "ms" ? shown(limit.value) : quantity(limit.value)) + " (the smallest needs " + shown(least) +
            ")";
  }
  return text;
}

int select_subnet(const Options& options) {
  const std::vector<Limit> limits = limits_of(options);
  const std::vector<const CostKind*> front = costs_of(options.pareto);
  if (limits.empty() && front.empty())
    throw UsageError("[select] give a limit, such as --bitops 100M, or --pareto COST");
  if (deploy::is_packed_model(options.run)) {
    if (!front.empty()) throw UsageError("[select] --pareto reads a run, not a packed file");
    return select_packed(options.run, limits, options.criterion_given ? options.criterion : "", options.json);
  }
  const Criterion& by = as_usage([&]() -> const Criterion& { return criterion(options.criterion); });
  const RunPaths paths = as_usage([&] { return find_run(options.run); }).paths;
  const std::vector<SubnetScore> scores = read_scores(paths.subnets());
  if (scores.empty())
    throw std::runtime_error("[select] " + paths.subnets() +
                             " holds no subnet: run `rtfq eval RUN --all` again");
  if (std::filesystem::last_write_time(paths.subnets()) <
      std::filesystem::last_write_time(paths.checkpoint()))
    note("the checkpoint is newer than " + paths.subnets() + ": `" + program + " eval " +
         shell_word(options.run) + " --all` measures it anew");
  std::vector<const CostKind*> needed = front;
  for (const Limit& limit : limits) needed.push_back(limit.cost);
  require(scores, paths.subnets(), by, needed);

  std::vector<SubnetScore> chosen;
  if (!front.empty())
    chosen = pareto_front(scores, by, front, limits);
  else if (const SubnetScore* best = choose(scores, by, limits))
    chosen.push_back(*best);
  if (chosen.empty()) {
    note("[select] no subnet of " + options.run + " fits " + what_does_not_fit(scores, limits));
    return nothing_fits;
  }
  const std::string words = meaning(by, chosen.front());
  if (options.json) {
    print_json_answer(chosen, by, words, limits, front);
    return done;
  }
  std::printf("%schosen by %s: %s\n", score_table(chosen).c_str(), by.name.c_str(), words.c_str());
  if (const std::string origin = latency_origin(chosen); !origin.empty())
    std::printf("ms: %s\n", origin.c_str());
  return done;
}

}  // namespace

void add_select(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("select", "the best subnet within a budget, or the front, from RUN/subnets.json");
  command->add_option("run", options->run, "folder of a run after `rtfq eval RUN --all`, or a packed file")
      ->required()
      ->type_name("RUN|FILE");
  static const std::vector<std::string> meanings{
      "multiply-adds for one image", "MACs x bits of weights x bits of activations",
      "packed weights with steps and norms", "bytes of packed weights and of the activations alive together",
      "milliseconds a forward pass, after `rtfq measure RUN`"};
  for (std::size_t i = 0; i < cost_kinds().size(); ++i)
    command->add_option("--" + cost_kinds()[i].name, options->limits[i], meanings[i])
        ->type_name("LIMIT")
        ->group("Limits, all of which hold");
  command
      ->add_option("--pareto", options->pareto,
                   "lists every subnet that no other one beats in quality and these costs: macs, bitops, "
                   "bytes, memory, "
                   "latency-ms; several with commas")
      ->type_name("COST,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--criterion", options->criterion,
                   "how quality is known: infomax (information of predictions on unlabelled target images; "
                   "the default), "
                   "source-val (accuracy on the source), target-labels (accuracy on the target)")
      ->type_name("NAME");
  command->add_flag("--json", options->json, "prints JSON: criterion, limits and rows as in subnets.json");
  command->footer(
      "A LIMIT is a number with an optional K, M, G or T (powers of 1000) or Ki, Mi, Gi.\n"
      "Of a packed file, the scores are those it was packed with; --latency-ms measures on this machine "
      "first.\n"
      "Exit status 3 when nothing fits.\n"
      "\n"
      "Examples:\n"
      "  rtfq select runs/m2u --bitops 100M --bytes 256Ki\n"
      "  rtfq select runs/m2u --pareto latency-ms,memory --criterion target-labels");
  command->callback([&action, command, options] {
    options->criterion_given = command->count("--criterion") > 0;
    action = [options] { return select_subnet(*options); };
  });
}

}  // namespace rtfq::cli
