#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/imagenet.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "training/network.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string device = "cpu";
  std::string run, data, json;
  std::vector<std::string> subnets;
  bool all = false, held_out = false, target_only = false, outside = false;
  ImageNetOptions imagenet;
};

std::vector<Subnet> chosen(const Options& options, const Config& config) {
  const std::vector<Subnet> trained = trained_subnets(config);
  if (options.all || trained.size() == 1) return trained;
  if (options.subnets.empty()) return {trained.front()};
  std::vector<Subnet> out;
  for (const std::string& text : options.subnets)
    out.push_back(as_usage([&] { return parse_subnet(text, config.model.bank); }));
  return out;
}

data::Dataset target_of(const Options& options, const TrainedBank& bank) {
  DataConfig where = bank.config.data;
  if (!where.evaluation.empty()) where.target = where.evaluation;
  if (!options.data.empty()) where.target = options.data;
  if (where.target.empty()) throw UsageError("[eval] the run names no target: give --data DIR");
  where.outside_paths |= options.outside;
  data::Dataset target = open_target(where, bank.classes);
  if (!options.held_out) return target;
  if (!where.hold_out)
    throw UsageError("[eval] --held-out: the run was trained with data.hold_out 0, on all target images");
  return data::hold_out(target, where.hold_out).second;
}

/// The source images, or nothing where they are not wanted or no longer there.
std::optional<data::Dataset> source_of(const Options& options, const TrainedBank& bank) {
  const std::string& location = bank.config.data.source;
  if (options.target_only || location.empty()) return {};
  if (!std::filesystem::exists(location)) {
    note("the source " + location + " is not there: accuracy on the target only");
    return {};
  }
  return open_source_validation(bank.config.data, bank.classes);
}

/// Latencies measured before are those of the same networks: they stay.
void keep_latencies(std::vector<SubnetScore>& scores, const std::string& path) {
  if (!std::filesystem::exists(path)) return;
  for (const SubnetScore& before : read_scores(path))
    for (SubnetScore& score : scores)
      if (score.subnet == before.subnet) score.latency = before.latency;
}

int evaluate_run(Options& options) {
  if (!options.imagenet.images.empty()) {
    options.imagenet.checkpoint = options.run;
    return evaluate_imagenet(options.imagenet);
  }
  OpenedRun run = open_run(options.run, options.device);
  const std::vector<Subnet> subnets = chosen(options, run.bank.config);
  const data::Dataset target = target_of(options, run.bank);
  const auto source = source_of(options, run.bank);
  if (!target.labelled())
    note(target.origin + " has no labels: its accuracy is not known, how the subnets answer is");
  const auto teacher = load_teacher(run.checkpoint, options.device);
  CountProgress progress("evaluating subnets:");
  auto scores = evaluate(*run.bank.network, run.bank.config, subnets, &target, source ? &*source : nullptr,
                         std::ref(progress), teacher.get());
  std::stable_sort(scores.begin(), scores.end(),
                   [](const SubnetScore& a, const SubnetScore& b) { return a.cost.bitops < b.cost.bitops; });
  std::fputs(score_table(scores).c_str(), stdout);
  if (!options.json.empty()) write_scores(options.json, scores);
  if (options.all) {
    keep_latencies(scores, run.paths.subnets());
    write_scores(run.paths.subnets(), scores);
    const auto middle = static_cast<double>(scores[scores.size() / 2].cost.bitops);
    note("wrote " + run.paths.subnets() + "; choose by a budget:\n  " + program + " select " +
         shell_word(run.paths.folder) + " --bitops " + quantity(middle));
  }
  return done;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("eval", "accuracy and cost of subnets, a table sorted by BitOPs");
  command->add_option("run", options->run, "folder of a run, or a checkpoint")->required()->type_name("RUN");
  auto* subnet =
      command
          ->add_option(
              "--subnet", options->subnets,
              "width=0.9,depth=1,resolution=28,bits=4; what is left out is the largest; may be given "
              "again. Without it: the largest subnet")
          ->type_name("SUBNET")
          ->allow_extra_args(false);
  command->add_flag("--all", options->all, "every subnet of the bank; also writes RUN/subnets.json")
      ->excludes(subnet);
  command
      ->add_option("--data", options->data,
                   "target images: a folder, with one subfolder a class where there are labels, or a list "
                   "file; without "
                   "it the run's target")
      ->type_name("DIR");
  command->add_option("--json", options->json, "writes the table as JSON")->type_name("FILE");
  auto* imagenet =
      command
          ->add_option("--imagenet", options->imagenet.images,
                       "RUN is a pretrained checkpoint of torchvision or timm: its accuracy on these images, "
                       "a folder of synset folders or a list file")
          ->type_name("DIR")
          ->excludes(subnet);
  command
      ->add_option(
          "--recipe", options->imagenet.recipe,
          "of --imagenet, how torchvision's weights V1 (shorter side to 256) or V2 (232) expect images")
      ->check(CLI::IsMember({"v1", "v2"}))
      ->needs(imagenet);
  command->add_flag("--held-out", options->held_out,
                    "only the target images that data.hold_out kept out of training");
  command->add_flag("--target-only", options->target_only, "leave out the accuracy on the source");
  command->add_flag("--outside-paths", options->outside,
                    "a list file may name images outside of the folder at which its paths start");
  command->footer(
      "Labels of the target are read here and nowhere else. Without any, the table still shows how often a "
      "subnet\n"
      "gives the averaged teacher's answer, and the information its predictions carry (in nats).\n"
      "\n"
      "Examples:\n"
      "  rtfq eval runs/m2u --all\n"
      "  rtfq eval runs/m2u --subnet width=0.5,bits=4 --subnet bits=8 --data digits/usps\n"
      "  rtfq eval resnet50.pth --imagenet imagenet/val --recipe v1");
  add_device(*command, options->device);
  command->callback([&action, options] { action = [options] { return evaluate_run(*options); }; });
}

}  // namespace rtfq::cli
