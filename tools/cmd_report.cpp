#include <filesystem>
#include <memory>

#include "engine/safetensors.h"
#include "tools/command.h"
#include "training/network.h"
#include "training/report/report.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::vector<std::string> runs, subnets;
  std::string out, data;
  int64_t images = 512;
};

/// The images to look at: the target's, or the source's where the run has no target at hand.
struct Images {
  data::Dataset dataset;
  Domain norms;
};

std::optional<Images> images_of(const Options& options, const TrainedBank& bank, report::RunData& run) {
  DataConfig where = bank.config.data;
  if (!options.data.empty()) where.target = options.data;
  const std::string again = "`" + program + " report " + shell_word(run.paths.folder) + " --data DIR`";
  // Without adaptation nothing of the target is known: its images meet the source's norms.
  const Domain norms = run.source_only() ? Domain::source : Domain::target;
  if (!where.target.empty() && (std::filesystem::exists(where.target) || !options.data.empty()))
    return Images{open_target(where, bank.classes), norms};
  const std::string target =
      where.target.empty() ? "The run names no target" : "The target " + where.target + " is not there";
  if (!where.source.empty() && std::filesystem::exists(where.source)) {
    run.missing.push_back(target + ": codes and images are those of the source. " + again +
                          " looks at other target images.");
    return Images{data::open_dataset(where.source, bank.classes), Domain::source};
  }
  run.missing.push_back(target + ", nor is the source, so there are no images and no codes of quantizers: " +
                        again + " adds them.");
  return {};
}

/// Codes and pictures; a run that cannot give them says why in `missing`.
void look(const Options& options, report::RunData& run, report::ReportInput& input) {
  if (options.images == 0) return;
  if (!std::filesystem::exists(run.paths.checkpoint())) {
    run.missing.push_back("There is no checkpoint yet, so there are no images and no codes of quantizers.");
    return;
  }
  try {
    TrainedBank bank = open_run(run.paths.folder).bank;
    std::vector<Subnet> subnets;
    for (const std::string& text : options.subnets)
      subnets.push_back(as_usage([&] { return parse_subnet(text, bank.config.model.bank); }));
    if (subnets.empty() || run.source_only()) subnets = report::telling_subnets(bank.config);
    const auto images = images_of(options, bank, run);
    if (!images) return;
    note("looking at " +
         std::to_string(
             std::min<int64_t>(options.images, static_cast<int64_t>(images->dataset.samples.size()))) +
         " images of " + images->dataset.origin + " through " + std::to_string(subnets.size()) +
         (subnets.size() == 1 ? " subnet" : " subnets"));
    report::Probe probe = report::probe(bank, images->dataset, images->norms, subnets, options.images);
    for (const std::string& warning : probe.warnings()) note("warning: " + run.name + ": " + warning);
    input.probes.emplace(run.paths.folder, std::move(probe));
  } catch (const UsageError&) {
    throw;
  } catch (const std::logic_error& error) {
    // A phase that training has not reached: a quantizer without step sizes, norms without statistics.
    run.missing.push_back(std::string("The network cannot be looked at yet: ") + error.what());
  } catch (const std::runtime_error& error) {
    run.missing.push_back(std::string("There are no images and no codes of quantizers: ") + error.what());
  }
}

int write_report(const Options& options) {
  report::ReportInput input;
  input.program = program;
  std::string out = options.out;
  if (out.empty()) {
    if (options.runs.size() > 1)
      throw UsageError("[report] several runs need a place for their report: -o FILE.html");
    out = RunPaths{options.runs.front()}.report();
  }
  for (const std::string& folder : options.runs) {
    if (!std::filesystem::is_directory(folder))
      throw UsageError("[report] expected the folder of a run, got " + folder +
                       ": name what `rtfq train --out` wrote");
    input.runs.push_back(as_usage([&] { return report::read_run(folder, program); }));
  }
  for (report::RunData& run : input.runs) {
    look(options, run, input);
    for (const std::string& missing : run.missing) note(run.name + ": " + missing);
  }
  write_file_atomically(out, render(input));
  note("wrote " + out);
  return done;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("report", "one HTML page about a run, or several beside each other");
  command
      ->add_option("runs", options->runs,
                   "folders of runs; of train.method source_only: a line to compare with")
      ->required()
      ->type_name("RUN...");
  command->add_option("-o,--out", options->out, "where to write; without it RUN/report.html")
      ->type_name("FILE");
  command->add_option("--data", options->data, "target images to look at; without it the run's target")
      ->type_name("DIR");
  command
      ->add_option("--subnet", options->subnets,
                   "whose codes are counted, the first also says what the images show; may be given again. "
                   "Without it: "
                   "the largest, that architecture at the lowest precision, and the smallest")
      ->type_name("SUBNET")
      ->allow_extra_args(false);
  command
      ->add_option("--images", options->images, "to look at; 0: no images and no codes, which takes no time")
      ->type_name("COUNT")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command->footer(
      "Shows what `rtfq eval RUN --all` measured, how training went, the codes of every quantizer, and "
      "target images.\n"
      "The page needs no network and no scripts.\n"
      "\n"
      "Examples:\n"
      "  rtfq report runs/m2u\n"
      "  rtfq report runs/m2u runs/m2u-source-only -o m2u.html --images 2000");
  command->callback([&action, options] { action = [options] { return write_report(*options); }; });
}

}  // namespace rtfq::cli
