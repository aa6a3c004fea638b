#include <filesystem>
#include <memory>

#include "data/dataset.h"
#include "tools/answers.h"
#include "tools/command.h"
#include "tools/deploy/rtfq.h"
#include "tools/packed_file.h"
#include "tools/progress.h"
#include "tools/table.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string file, out, subnet, criterion;
  std::vector<std::string> images;
  std::vector<std::string> limits = std::vector<std::string>(cost_kinds().size());
  int top = 1, threads = 0, batch = 1;
  bool skip_bad = false;
};

/// Files as they are named, folders as the images in them.
std::vector<std::string> paths_of(const std::vector<std::string>& images) {
  std::vector<std::string> paths;
  for (const std::string& path : images) {
    if (!std::filesystem::is_directory(path)) {
      paths.push_back(path);
      continue;
    }
    for (const data::Sample& sample : data::open_dataset(path).samples) paths.push_back(sample.path);
  }
  return paths;
}

std::size_t chosen(const Options& options, const std::shared_ptr<deploy::LoadedModel>& loaded) {
  std::vector<Limit> limits;
  for (std::size_t i = 0; i < options.limits.size(); ++i)
    if (!options.limits[i].empty())
      limits.push_back({&cost_kinds()[i], as_usage([&] { return parse_quantity(options.limits[i]); })});
  if (!options.subnet.empty()) {
    if (!limits.empty()) throw UsageError("[infer] give --subnet or limits, not both");
    return as_usage([&] {
      return loaded->model().index(
          parse_subnet_values(options.subnet, loaded->model().subnets().front().subnet));
    });
  }
  if (limits.empty() && options.criterion.empty()) return 0;
  const auto best = best_subnet(loaded, limits_of(limits), options.criterion, options.threads);
  if (!best) throw std::runtime_error("[infer] no subnet of " + options.file + " fits the limits");
  return *best;
}

int infer(const Options& options) {
  const auto loaded = deploy::LoadedModel::from_file(options.file);
  const packed::Model& model = loaded->model();
  const std::size_t subnet = chosen(options, loaded);
  const auto paths = as_usage([&] { return paths_of(options.images); });
  deploy::Session session(loaded, {options.threads, options.batch, {subnet}});
  data::Decoding decoding;
  decoding.exif = model.preprocessing().exif;

  Answers answers(model.classes(), options.top);
  std::vector<data::Image> images;
  std::vector<std::string> names;
  CountProgress progress("classifying images:");
  const auto flush = [&] {
    if (images.empty()) return;
    const std::size_t classes = model.classes().size();
    std::vector<float> rows(images.size() * classes);
    session.run(images, rows.data());
    for (std::size_t i = 0; i < images.size(); ++i) {
      const std::span row = std::span(rows).subspan(i * classes, classes);
      rtfq_softmax(row.data(), static_cast<int>(classes));
      answers.add(names[i], row);
    }
    images.clear();
    names.clear();
  };
  for (std::size_t i = 0; i < paths.size(); ++i) {
    try {
      images.push_back(data::load_image(paths[i], model.preprocessing().channels, decoding));
      names.push_back(paths[i]);
    } catch (const std::runtime_error& error) {
      if (!options.skip_bad) throw;
      note(error.what());
    }
    if (images.size() == static_cast<std::size_t>(options.batch)) flush();
    progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(paths.size()));
  }
  flush();
  answers.write(options.out, model.subnets()[subnet].subnet);
  return done;
}

}  // namespace

void add_infer(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("infer", "class and probability of images from a packed file alone");
  command->add_option("file", options->file, "what `rtfq pack` wrote")->required()->type_name("FILE");
  command->add_option("images", options->images, "images, and folders of images")
      ->required()
      ->type_name("IMAGE|DIR");
  command
      ->add_option("--subnet", options->subnet,
                   "width=0.9,depth=1,resolution=160,bits=4; what is left out is the file's first subnet's")
      ->type_name("SUBNET");
  for (std::size_t i = 0; i < cost_kinds().size(); ++i)
    command->add_option("--" + cost_kinds()[i].name, options->limits[i])
        ->type_name("LIMIT")
        ->group("Limits: the best subnet within them (`rtfq select FILE`)");
  command
      ->add_option("--criterion", options->criterion,
                   "which of the file's scores is best; without it its first")
      ->type_name("NAME");
  command->add_option("--batch", options->batch, "images of a pass; without it 1")
      ->type_name("IMAGES")
      ->check(CLI::Range(1, 4096));
  command->add_option("--threads", options->threads, "that compute; without it all")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1024));
  command->add_option("--top", options->top, "so many classes a line, best first")
      ->type_name("K")
      ->check(CLI::Range(1, 1000000));
  command->add_flag("--skip-bad", options->skip_bad, "leave out images that cannot be read, and say which");
  command->add_option("-o,--out", options->out, "writes the CSV there instead of to stdout")
      ->type_name("OUT");
  command->footer(
      "Without --subnet and limits: the first subnet of the file, its largest.\n"
      "\n"
      "Examples:\n"
      "  rtfq infer m2u.rtfq photo.jpg --top 3\n"
      "  rtfq infer m2u.rtfq photos --latency-ms 2 --threads 1 -o answers.csv");
  command->callback([&action, options] { action = [options] { return infer(*options); }; });
}

}  // namespace rtfq::cli
