#include <cstdio>
#include <memory>

#include "models/checkpoint/pretrained.h"
#include "models/checkpoint/sort_channels.h"
#include "tools/command.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string file, arch, weights, out;
  bool sort = false;
};

int import_checkpoint(const Options& options) {
  checkpoint::Pretrained network = as_usage([&] {
    return checkpoint::read_pretrained(options.file, {options.arch, options.weights});
  });
  if (options.sort) checkpoint::sort_channels(network);
  std::fputs(checkpoint::description(network).c_str(), stdout);
  if (options.out.empty()) {
    note("nothing was written: name a file with -o");
    return done;
  }
  checkpoint::save_pretrained(options.out, network);
  note("a bank starts from it with\n  " + program + " train CONFIG --out RUN --set model.arch=" +
       network.spec.name + " --set checkpoint=" + shell_word(options.out));
  return done;
}

}  // namespace

void add_import(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("import", "a ResNet of torchvision or timm, checked and made a bank's start");
  command->add_option("file", options->file, ".pth of torch.save (either format) or .safetensors")
      ->required()
      ->type_name("FILE");
  command->add_option("--arch", options->arch, "what it must be; without it, whatever its tensors say")
      ->type_name("ARCH");
  command
      ->add_option("--weights", options->weights,
                   "the dictionary to take where the file holds several: model, model_ema, state_dict, ...")
      ->type_name("NAME");
  command->add_flag(
      "--sort-channels", options->sort,
      "order hidden channels by importance, so that narrow subnets keep the useful ones; the full "
      "network computes the same");
  command->add_option("-o,--out", options->out, "the bank's start: safetensors, f32, torchvision's names")
      ->type_name("FILE");
  command->footer(
      "Prints what was found, dropped and changed. Reading executes nothing of the file.\n"
      "\n"
      "Example:\n"
      "  rtfq import resnet50.pth --sort-channels -o bank.safetensors\n"
      "  rtfq train office31 --set checkpoint=bank.safetensors --out runs/a2w");
  command->callback([&action, options] { action = [options] { return import_checkpoint(*options); }; });
}

}  // namespace rtfq::cli
