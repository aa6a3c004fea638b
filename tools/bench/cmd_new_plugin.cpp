#include <filesystem>
#include <fstream>

#include "tools/bench/command.h"
#include "tools/bench/templates.h"

namespace rtfq::lab {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
  if (!out.flush()) throw std::runtime_error("[new-plugin] cannot write " + file.string());
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// What a family's folder asks for beside what all do.
struct Asked {
  std::string run;    ///< of rtfq-bench
  std::string train;  ///< of rtfq; families that training does not call have no `make train` worth naming
  bool trains = true;
  std::string environment{};  ///< of training
};

Asked asked_of(const std::string& family) {
  const std::string on_codes = "--set precision=int8";  // where these passes run on codes
  if (family == "conv2d.forward") return {"--dtype u8 --shape n=4,h=14,w=14,c=128,k=128,filter=3", on_codes};
  // The template takes f32, which lies between convolutions on codes where there is no bf16.
  if (family == "normquant.forward") return {"", on_codes, true, "ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI"};
  return {"", "", family.rfind("int4.", 0) != 0};
}

int new_plugin(const std::string& family, const std::string& language, std::string folder) {
  const auto known = template_families();
  if (std::find(known.begin(), known.end(), family) == known.end()) {
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    throw cli::UsageError("[new-plugin] there is no template for '" + family + "': there are " + list +
                          "; kernels/plugin.h has the arguments of every other family");
  }
  if (folder.empty()) folder = replaced(family, ".", "-");
  if (fs::exists(folder) && !fs::is_empty(folder))
    throw cli::UsageError("[new-plugin] " + folder + " is not empty: choose another with --out");
  const Asked asked = asked_of(family);
  const auto fill = [&](const std::string& text) {
    std::string filled = text;
    for (const auto& [mark, value] :
         {std::pair<std::string, std::string>{"@SOURCE@", source_folder()},
          // However it was called: by a path, or by a name that the shell looked up.
          {"@PROGRAM@", cli::shell_word(fs::read_symlink("/proc/self/exe").string())},
          {"@FAMILY@", family},
          {"@ENVIRONMENT@ ", asked.environment.empty() ? "" : asked.environment + " "},
          {" @CASE@", asked.run.empty() ? "" : " " + asked.run},
          {" @TRAIN@", asked.train.empty() ? "" : " " + asked.train}})
      filled = replaced(std::move(filled), mark, value);
    return filled;
  };
  const auto files = cli::as_usage([&] { return template_files(family, language); });
  fs::create_directories(folder);
  for (const auto& [name, text] : files) write(fs::path(folder) / name, fill(text));
  write(fs::path(folder) / "plugin.h", header_text("plugin.h"));
  write(fs::path(folder) / "shapes.h", header_text("shapes.h"));
  const bool python = language == "python";
  const std::string at = cli::shell_word(folder),
                    library = cli::shell_word(folder + (python ? "/plugin.py" : "/plugin.so"));
  const std::string device = language == "cuda" ? " --device simt" : "",
                    shape = language == "cuda"  ? " --shape count=65536"
                            : asked.run.empty() ? ""
                                                : " " + asked.run;
  note("wrote " + folder + ". It " +
       (python ? "needs an interpreter with NumPy (RTFQ_PYTHON names one) and " : "builds and ") +
       "is right as it is; make it fast:\n" + (python ? "" : "  make -C " + at + "\n") + "  " + program +
       " run --op " + family + device + " --impl ours,plugin:" + library + shape + "\n  " + program +
       " compare --op " + family + device + " --a ours --b plugin:" + library + shape + "\nor `make -C " +
       at + (python ? " test`, `compare`" : " test`, `verify`, `compare`, `debug`, `clean`") +
       (language == "c" && asked.trains ? ", `train`" : "") + ".");
  return cli::done;
}

}  // namespace

void add_new_plugin(CLI::App& app, cli::Action& action) {
  struct Options {
    std::string family, language = "c", out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("new-plugin", "a folder with a kernel of your own, which builds with `make`");
  command
      ->add_option("family", options->family,
                   "the operator: fakequant.forward, fakequant.backward, normquant.forward (a fused norm), "
                   "conv2d.forward "
                   "(codes), int4.quantize (packing)")
      ->required();
  command->add_option("--lang", options->language, "c, cuda or python (default: c)")
      ->check(CLI::IsMember({"c", "cuda", "python"}));
  command->add_option("--out", options->out, "the folder (default: the operator's name)")->type_name("DIR");
  command->footer(
      "Example:\n  rtfq-bench new-plugin fakequant.forward --lang c && make -C fakequant-forward");
  command->callback([&action, options] {
    action = [options] { return new_plugin(options->family, options->language, options->out); };
  });
}

}  // namespace rtfq::lab
