// rtfq-agreement: how far a packed subnet, which computes on integers, is from evaluation by f32 fake-quant,
// over a folder of images: codes that differ, quantizer by quantizer, and images of another class.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include "engine/atomic_file.h"
#include "kernels/conv2d.h"
#include "models/deploy/observed.h"
#include "tools/packed_file.h"
#include "training/network.h"
#include "training/prepared_images.h"
#include "training/trainer.h"

namespace {

using namespace rtfq;

struct Count {
  int64_t codes = 0, flipped = 0, beyond_one = 0;
};

/// The run, its network computing in f32 whatever it was trained in.
cli::OpenedRun open_in_f32(const std::string& name) {
  cli::OpenedRun run = cli::open_run(name);
  TrainedBank& bank = run.bank;
  if (bank.config.precision == "f32") return run;
  bank.config.precision = "f32";
  const auto file = std::filesystem::temp_directory_path() /
                    ("rtfq-agreement-" + std::to_string(::getpid()) + ".safetensors");
  save_network(file.string(), bank);
  bank = load_bank(file.string());
  std::filesystem::remove(file);
  return run;
}

/// What a packed subnet makes of batches of any size.
class Packed {
 public:
  explicit Packed(const packed::Model& model) : model_(model) {}

  deploy::Observed run(const Tensor& images) {
    auto& program = programs_[images.dim(0)];
    if (!program) {
      program = std::make_unique<deploy::Program>(model_, 0, images.dim(0), weights_);
      arena_bytes_ = std::max(arena_bytes_, program->arena_bytes());
      arena_ = memory::allocate({}, arena_bytes_);
    }
    return deploy::observe(*program, model_.classes().size(), images, arena_.get());
  }

 private:
  const packed::Model& model_;
  deploy::Weights weights_;
  std::map<int64_t, std::unique_ptr<deploy::Program>> programs_;
  std::size_t arena_bytes_ = 0;
  std::shared_ptr<void> arena_;
};

int64_t best_of(const float* row, std::size_t classes) {
  return std::max_element(row, row + classes) - row;
}

/// `answers` gets a line for each image, with the numbers that evaluation and the packed subnet answer.
void compare(cli::OpenedRun& run, const Subnet& subnet, PreparedImages& images, bool by_quantizer,
             std::string* answers) {
  TrainedBank& bank = run.bank;
  const Domain domain = inference_domain(bank.config);
  const packed::SubnetEntry entry{subnet, bank.network->cost(subnet), {}};
  const auto file = packed::pack(*bank.network, domain, {&entry, 1}, cli::pack_info(run, {entry}));
  const packed::Model model(file);
  Packed packed(model);
  std::map<std::string, Count> counts;
  int64_t all = 0, same_class = 0;
  images.each([&](const Tensor& largest, const data::Batch&) {
    const Tensor batch = ops::resize({}, largest, subnet.resolution, subnet.resolution);
    const deploy::Observed expected = deploy::observe(*bank.network, subnet, domain, batch),
                           found = packed.run(batch);
    for (int64_t i = 0; i < batch.dim(0); ++i, ++all) {
      const std::size_t classes = bank.classes.size(), row = static_cast<std::size_t>(i) * classes;
      const int64_t evaluated = best_of(expected.logits.data() + row, classes),
                    answered = best_of(found.logits.data() + row, classes);
      same_class += evaluated == answered;
      *answers += id(subnet) + ',' + std::to_string(all) + ',' + std::to_string(evaluated) + ',' +
                  std::to_string(answered) + '\n';
    }
    for (const auto& [name, codes] : expected.codes) {
      const auto& others = found.codes.at(name);
      Count& count = counts[name];
      count.codes += static_cast<int64_t>(codes.size());
      for (std::size_t i = 0; i < codes.size(); ++i) {
        count.flipped += codes[i] != others.at(i);
        count.beyond_one += std::abs(codes[i] - others[i]) > 1;
      }
    }
  });
  Count total;
  for (const auto& [name, count] : counts) {
    total.codes += count.codes, total.flipped += count.flipped, total.beyond_one += count.beyond_one;
    if (by_quantizer)
      std::printf("  %-28s %14lld codes %10lld flipped\n", name.c_str(), static_cast<long long>(count.codes),
                  static_cast<long long>(count.flipped));
  }
  std::printf(
      "%s: %lld of %lld codes flipped, %.2g of them all; %lld by more than one; the class of %lld of %lld "
      "images, "
      "%.2f %%\n",
      id(subnet).c_str(), static_cast<long long>(total.flipped), static_cast<long long>(total.codes),
      static_cast<double>(total.flipped) / static_cast<double>(total.codes),
      static_cast<long long>(total.beyond_one), static_cast<long long>(same_class),
      static_cast<long long>(all), 100.0 * static_cast<double>(same_class) / static_cast<double>(all));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Codes and classes of packed subnets, which compute on integers, beside f32 fake-quant evaluation.\n"
      "Example: rtfq-agreement runs/m2u digits/usps --subnet bits=8 --subnet bits=4");
  std::string run, folder, classes, convolutions;
  std::vector<std::string> subnets;
  bool by_quantizer = false;
  app.add_option("run", run, "folder of a run, or a checkpoint")->required()->type_name("RUN");
  app.add_option("images", folder, "a folder of images, or a list file")->required()->type_name("DIR|LIST");
  app.add_option("--subnet", subnets, "may be repeated; what is left out is the largest")
      ->type_name("SUBNET")
      ->required()
      ->allow_extra_args(false);
  app.add_flag("--by-quantizer", by_quantizer, "a line for each quantizer as well");
  app.add_option("--classes", classes,
                 "writes subnet, number of the image, evaluation's class and the packed subnet's there, a "
                 "line for each image")
      ->type_name("FILE");
  app.add_option("--convolutions", convolutions,
                 "the implementation that evaluation's convolutions take: another one adds in another order, "
                 "which shows how far f32 is from itself")
      ->check(CLI::IsMember({"onednn", "naive"}));
  CLI11_PARSE(app, argc, argv);
  try {
    kernels::prefer(kernels::Conv2dForward::name, convolutions);
    cli::OpenedRun opened = open_in_f32(run);
    const Config& config = opened.bank.config;
    const data::Dataset dataset = data::without_labels(data::open_dataset(folder, {}, {}, false));
    PreparedImages images(config, dataset, inference_domain(config), PreparedImages::Order::as_listed);
    std::string answers;
    for (const std::string& text : subnets)
      compare(opened, parse_subnet(text, config.model.bank), images, by_quantizer, &answers);
    if (!classes.empty()) write_file_atomically(classes, answers);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-agreement: %s\n", error.what());
    return 1;
  }
}
