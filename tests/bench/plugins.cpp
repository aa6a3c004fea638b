// The examples of docs/plugins, what new-plugin writes, comparing, and training with a plug-in.
#include "kernels/plugin.h"
#include "tests/bench/run.h"
#include "tests/support/skip.h"

using namespace rtfq::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// An interpreter that has these modules: $RTFQ_PEERS, an environment in .deps, or python3; empty: none.
std::string python_with(const std::string& modules) {
  const char* chosen = std::getenv("RTFQ_PEERS");
  std::vector<std::string> candidates;
  if (chosen) candidates.push_back(std::string(chosen) + "/bin/python");
  for (const char* folder : {"peers", "parity"})
    candidates.push_back(std::string(RTFQ_SOURCE_DIR "/.deps/") + folder + "/bin/python");
  candidates.emplace_back("python3");
  for (const std::string& python : candidates)
    if (std::system(("'" + python + "' -c 'import " + modules + "' >/dev/null 2>&1").c_str()) == 0)
      return python;
  return "";
}

std::string example(const std::string& name) {
  return std::string(RTFQ_SOURCE_DIR "/docs/plugins/") + name;
}

}  // namespace

TEST_CASE("plugins: the AVX2 example is exact, and says what it does not take") {
  const Lab lab;
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + plugin("avx2_example"), "--bits",
               "4,8s", "--shape", "count=70001", "--shape", "k=5,rs=9,c=7,of=10", "--verify-only"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("count=70001,u4,f32") && Contains("count=70001,s8,f32") &&
                              Contains(" exact") && Contains("skipped"));
  CHECK_THAT(outcome.err, Contains("takes dense tensors only"));
  CHECK_THAT(outcome.out, !Contains("near-tie") && !Contains("wrong"));
}

TEST_CASE("plugins: NumPy through Python is exact by its declared rule") {
  const std::string python = python_with("numpy");
  if (python.empty()) return skip("no python3 with NumPy: tools/peers installs one");
  const Lab lab;
  ::setenv("RTFQ_PYTHON", python.c_str(), 1);
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + example("numpy/fakequant.py"),
               "--shape", "count=5000", "--samples", "2", "--sample-seconds", "0.001", "--seconds", "0.01"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains(" exact") && Contains("plugin:numpy-example") && !Contains("near-tie"));
  std::ofstream(lab.at("raises.py"))
      << "def f(shape, x, step, y, codes):\n  raise ValueError('not today')\n"
         "OPERATORS = [{'family': 'fakequant.forward', 'name': 'raises', 'function': f}]\n";
  const Outcome raises = lab.run({"run", "--op", "fakequant.forward", "--impl",
                                  "plugin:" + lab.at("raises.py"), "--shape", "count=100", "--verify-only"});
  CHECK(raises.status == 1);
  CHECK_THAT(raises.err, Contains("ValueError: not today"));
  std::ofstream(lab.at("empty.py")) << "import numpy as np\n";
  const Outcome empty = lab.run({"list", lab.at("empty.py")});
  CHECK(empty.status == 2);
  CHECK_THAT(empty.err, Contains("OPERATORS"));
}

TEST_CASE("plugins: a Python that is not there is named") {
  const Lab lab;
  ::setenv("RTFQ_PYTHON", "/no/such/python", 1);
  const Outcome outcome = lab.run({"list", example("numpy/fakequant.py")});
  ::unsetenv("RTFQ_PYTHON");
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.err, Contains("cannot run /no/such/python"));
}

TEST_CASE("plugins: PyTorch's own quantizer is accepted") {
  const std::string python = python_with("torch, numpy");
  if (python.empty()) return skip("no python3 with PyTorch: RTFQ_PEERS may name an environment");
  const Lab lab;
  ::setenv("RTFQ_PYTHON", python.c_str(), 1);
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + example("pytorch/fakequant.py"),
               "--bits", "4,8s", "--shape", "count=100003", "--verify-only", "--limit", "120"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("plugin:pytorch") && !Contains("wrong") && !Contains("skipped"));
}

TEST_CASE("plugins: new-plugin writes folders that build with one command and are right") {
  const Lab lab;
  struct Made {
    const char *family, *language, *device, *shape;
    const char* dtype = "f32";
  };
  for (const Made& made :
       {Made{"fakequant.forward", "c", "cpu", "count=1003"},
        Made{"fakequant.backward", "c", "cpu", "count=1003"},
        Made{"fakequant.forward", "cuda", "simt", "count=1003"},
        Made{"normquant.forward", "c", "cpu", "n=2,hw=9,c=37,segments=2,residual=norm,identity=codes"},
        Made{"conv2d.forward", "c", "cpu", "n=2,h=5,w=4,c=12,k=9,filter=3,stride=2,of=16", "u8"},
        Made{"int4.quantize", "c", "cpu", "k=3,rs=4,c=7,of=9"}}) {
    const std::string folder = lab.at(std::string(made.family) + "-" + made.language);
    INFO(folder);
    const Outcome written = lab.run({"new-plugin", made.family, "--lang", made.language, "--out", folder});
    INFO(written.err);
    REQUIRE(written.status == 0);
    CHECK_THAT(written.err, Contains("make -C " + folder));
    REQUIRE(std::system(("make -s -C '" + folder + "' >/dev/null 2>&1").c_str()) == 0);
    const Outcome right = lab.run({"run", "--op", made.family, "--device", made.device, "--impl",
                                   "plugin:" + folder + "/plugin.so", "--shape", made.shape, "--dtype",
                                   made.dtype, "--verify-only", "--seeds", "2"});
    INFO(right.out << right.err);
    CHECK(right.status == 0);
    CHECK_THAT(right.out, Contains(" exact") && !Contains("near-tie"));
    CHECK(lab.run({"new-plugin", made.family, "--out", folder}).status == 2);  // it is not empty
    if (std::string(made.device) == "cpu")
      CHECK(std::system(("make -s -C '" + folder + "' debug verify >/dev/null 2>&1").c_str()) == 0);
    CHECK(std::system(("make -s -C '" + folder + "' clean >/dev/null 2>&1").c_str()) == 0);
    CHECK_FALSE(fs::exists(folder + "/plugin.so"));
  }
  const Outcome python =
      lab.run({"new-plugin", "fakequant.forward", "--lang", "python", "--out", lab.at("python")});
  CHECK(python.status == 0);
  CHECK_THAT(python.err, Contains("plugin:" + lab.at("python") + "/plugin.py") && !Contains("plugin.so"));
  CHECK(lab.run({"new-plugin", "conv3d", "--out", lab.at("none")}).status == 2);
  CHECK_FALSE(fs::exists(lab.at("none")));
}

TEST_CASE("plugins: a folder that a program found by the shell has written calls that program") {
  const Lab lab;
  const std::string bin = fs::path(RTFQ_BENCH).parent_path().string(), folder = lab.at("mine");
  fs::create_directory(lab.at("elsewhere"));
  const std::string command = "cd '" + lab.at("elsewhere") + "' && PATH='" + bin +
                              "':$PATH rtfq-bench new-plugin fakequant.forward --out '" + folder +
                              "' 2>/dev/null && make -s -C '" + folder + "' verify >/dev/null 2>&1";
  CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("plugins: of several operators in a file one is chosen by name") {
  const Lab lab;
  const std::string file = "plugin:" + plugin("several");
  const auto run = [&](const std::string& implementation) {
    return lab.run(
        {"run", "--op", "relu.forward", "--impl", implementation, "--shape", "count=1003", "--verify-only"});
  };
  const Outcome right = run(file + ":plain");
  INFO(right.out << right.err);
  CHECK(right.status == 0);
  CHECK_THAT(right.out,
             Contains("plugin:plain ") && !Contains("plugin:scaled") && !Contains("plugin:plain.2"));
  CHECK_THAT(run(file + ":plain.2").out, Contains("plugin:plain.2 ") && Contains(" exact"));
  const Outcome all = run(file);
  CHECK(all.status == 1);
  CHECK_THAT(all.out, Contains("plugin:plain ") && Contains("plugin:scaled ") && Contains("plugin:plain.2 "));
  CHECK_THAT(all.err, Contains("--impl " + file + ":scaled "));  // what repeats it
  const Outcome unknown = run(file + ":absent");
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.err, Contains(file + ":plain on cpu") && Contains(file + ":scaled on cpu"));
  const auto compare = [&](const std::string& b) {
    return lab.run({"compare", "--op", "relu.forward", "--a", file + ":plain", "--b", b, "--shape",
                    "count=1003", "--pairs", "8", "--sample-seconds", "0.0005"});
  };
  CHECK(compare(file + ":plain.2").status == 0);
  const Outcome ambiguous = compare(file);
  CHECK(ambiguous.status == 2);
  CHECK_THAT(ambiguous.err, Contains("means 3 implementations") && Contains(file + ":scaled"));
}

TEST_CASE("plugins: list of a file shows what it declares and nothing else") {
  const Lab lab;
  const Outcome listed = lab.run({"list", plugin("none")});
  CHECK(listed.status == 0);
  CHECK(listed.out == "plugin:test of " + plugin("none") +
                          ": fakequant.forward on cpu, rounds: multiply by the reciprocal, ties to even\n");
  CHECK_THAT(lab.run({"list", "--op", "relu.forward", "--cases"}).out,
             Contains(": count ") && Contains("; output y"));
  const Outcome near = lab.run({"run", "--op", "fakequant.foward"});
  CHECK(near.status == 2);
  CHECK_THAT(near.err, Contains("did you mean fakequant.forward?"));
}

TEST_CASE("plugins: compare says which is faster, and by how much") {
  const Lab lab;
  const auto compare = [&](const std::string& a, const std::string& b) {
    return lab.run({"compare", "--op", "fakequant.forward", "--a", "plugin:" + plugin(a), "--b",
                    "plugin:" + plugin(b), "--shape", "count=20000", "--pairs", "20", "--sample-seconds",
                    "0.002", "--json", lab.at("compare.json")});
  };
  // On a machine with other work the interval may honestly be too wide to say anything: then it is asked
  // again.
  Outcome slower = compare("slow", "none");
  for (int again = 0; again < 4 && slower.out.find("no difference") != std::string::npos; ++again)
    slower = compare("slow", "none");
  INFO(slower.out << slower.err);
  CHECK(slower.status == 0);
  // Both are called "test"; the second of that name gets a number.
  CHECK_THAT(slower.out, Contains("plugin:test.2 is faster, "));
  const auto found = nlohmann::json::parse(contents(lab.at("compare.json")))["comparisons"][0];
  CHECK(found["ratio"].get<double>() > 1.5);
  CHECK(found["low"].get<double>() <= found["ratio"].get<double>());
  CHECK(found["pairs"].size() == 20);
  const Outcome wrong = compare("tail", "none");
  CHECK(wrong.status == 1);
  CHECK_THAT(wrong.err, Contains("is not compared: wrong"));
}

TEST_CASE("plugins: training with a kernel of one's own") {
  const Workplace place;
  const auto kernel = [&](const std::string& name) { return "fakequant.forward=" + plugin(name); };
  const Outcome ours = succeed(place, place.train("ours"));
  const Outcome theirs = succeed(place, place.train("theirs", {"--kernel", kernel("none")}));
  CHECK_THAT(theirs.err, Contains("fakequant.forward by plugin:test of " + plugin("none") +
                                  ", which rounds: multiply by the "
                                  "reciprocal, ties to even"));
  CHECK_THAT(theirs.err, Contains("ours stay: fakequant.backward, fakequant.abs_sum"));
  CHECK_THAT(theirs.err, Catch::Matches("[^]*fakequant\\.forward by plugin:test: [1-9][0-9]* launches[^]*"));
  // The same bits in the same place: the losses are equal to the last digit. Another kernel gives others.
  const auto losses = [&](const std::string& run) {
    std::vector<double> found;
    std::ifstream in(place.at(run) + "/log.jsonl");
    for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line)["loss"]);
    return found;
  };
  REQUIRE(losses("ours").size() == 9);
  CHECK(losses("theirs") == losses("ours"));
  succeed(place, place.train("border", {"--kernel", kernel("border")}));
  CHECK(losses("border") != losses("ours"));

  // The fused norms are those of training on codes.
  const std::vector<std::string> on_codes{"--set", "precision=int8"};
  const auto norms = [&](const std::string& run, const std::string& name) {
    auto more = on_codes;
    if (!name.empty())
      more.insert(more.end(), {"--kernel", "normquant.forward=" + plugin("norms") + ":" + name});
    succeed(place, place.train(run, more));
    return losses(run);
  };
  // They take f32, which lies between convolutions on codes where there is no bf16.
  ::setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI", 1);
  const auto on_codes_losses = norms("codes", "");
  CHECK(norms("codes-right", "right") == on_codes_losses);
  CHECK(norms("codes-forgets", "forgets") != on_codes_losses);
  ::unsetenv("ONEDNN_MAX_CPU_ISA");

  const auto refused = [&](const std::string& text, const std::string& reason) {
    const Outcome outcome = place.rtfq(place.train("refused", {"--kernel", text}));
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains(reason));
    CHECK_FALSE(fs::exists(place.at("refused")));
  };
  refused("fakequant.forward", "expected --kernel OPERATOR=FILE");
  refused("fakequant.sideways=x.so", "there is no operator 'fakequant.sideways'");
  refused("fakequant.backward=" + plugin("none"),
          "has no fakequant.backward for the CPU: it has fakequant.forward on cpu");
  refused("convquant.forward=" + plugin("codes"), "is of deployment, training never calls it");
  refused("relu.forward=" + plugin("several"), "NAME among plain, scaled, plain.2");
  refused("relu.forward=" + plugin("several") + ":absent", "there are plain, scaled, plain.2");
  const Outcome named =
      succeed(place, place.train("named", {"--kernel", "relu.forward=" + plugin("several") + ":plain"}));
  CHECK_THAT(named.err, Contains("relu.forward by plugin:plain of " + plugin("several") + ";"));
  CHECK(losses("named") == losses("ours"));
  refused(kernel("abi"), "ABI version " + std::to_string(RTFQ_PLUGIN_ABI + 41));
}
