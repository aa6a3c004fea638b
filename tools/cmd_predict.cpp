#include <memory>

#include "tools/answers.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "training/network.h"
#include "training/predictions.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string device = "cpu";
  bool outside = false;  ///< data.outside_paths
  std::string run, data, out, subnet;
  int top = 1;
  bool skip_bad = false;
};

void say_what_is_missing(const data::Dataset& dataset, const std::vector<char>& answered) {
  constexpr int shown = 5;
  int missing = 0;
  std::string names;
  for (std::size_t i = 0; i < answered.size(); ++i)
    if (!answered[i] && ++missing <= shown) names += "\n  " + dataset.samples[i].path;
  if (missing == 0) return;
  note(std::to_string(missing) + " of " + std::to_string(answered.size()) +
       " images could not be read and have no line:" + names +
       (missing > shown ? "\n  and " + std::to_string(missing - shown) + " more" : ""));
}

int predict_images(const Options& options) {
  OpenedRun run = open_run(options.run, options.device);
  TrainedBank& bank = run.bank;
  if (options.skip_bad) bank.config.data.bad_images = "skip";
  Subnet subnet = trained_subnets(bank.config).front();
  if (!options.subnet.empty())
    subnet = as_usage([&] { return parse_subnet(options.subnet, bank.config.model.bank); });
  // What the folders or the list call the images does not matter: labels are not read.
  const data::Dataset dataset =
      data::without_labels(data::open_dataset(options.data, {}, {}, options.outside));
  PreparedImages images(bank.config, dataset, inference_domain(bank.config),
                        PreparedImages::Order::as_listed);

  Answers answers(bank.classes, options.top);
  std::vector<char> answered(dataset.samples.size());
  int64_t done_images = 0;
  CountProgress progress("predicting images:");
  predict(*bank.network, subnet, inference_domain(bank.config), images,
          [&](const Tensor& p, const data::Batch& batch) {
            for (std::size_t i = 0; i < batch.indices.size(); ++i) {
              answers.add(dataset.samples[batch.indices[i]].path,
                          {p.as<float>() + static_cast<int64_t>(i) * p.dim(1), bank.classes.size()});
              answered[batch.indices[i]] = true;
            }
            progress(done_images += batch.n, static_cast<int64_t>(dataset.samples.size()));
          });
  say_what_is_missing(dataset, answered);
  answers.write(options.out, subnet);
  return done;
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("predict", "class and probability of images, as CSV");
  command->add_option("run", options->run, "folder of a run, or a checkpoint")->required()->type_name("RUN");
  command
      ->add_option("images", options->data,
                   "a folder of images, with or without subfolders, or a list file; labels are not read")
      ->required()
      ->type_name("DIR|LIST");
  command->add_option("-o,--out", options->out, "writes the CSV there instead of to stdout")
      ->type_name("FILE");
  command
      ->add_option(
          "--subnet", options->subnet,
          "width=0.9,depth=1,resolution=28,bits=4; what is left out is the largest. Without it: the largest "
          "subnet; `rtfq select` names one for a budget")
      ->type_name("SUBNET");
  command->add_option("--top", options->top, "so many classes a line, best first")
      ->type_name("K")
      ->check(CLI::Range(1, 1000000));
  command->add_flag(
      "--skip-bad", options->skip_bad,
      "leave out images that cannot be read, and say which; without it as the run's data.bad_images says");
  command->add_flag("--outside-paths", options->outside,
                    "a list file may name images outside of the folder at which its paths start");
  command->footer(
      "Columns: path, class, probability; with --top K also class2, probability2, ...\n"
      "\n"
      "Example:\n"
      "  rtfq predict runs/m2u photos --subnet width=0.5,bits=4 --top 3 -o answers.csv");
  add_device(*command, options->device);
  command->callback([&action, options] { action = [options] { return predict_images(*options); }; });
}

}  // namespace rtfq::cli
