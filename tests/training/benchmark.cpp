// Benchmarks: where their domains are found, what is said about them, and the experiment that is made of
// them. Files are empty: nothing here decodes.
#include "training/benchmark.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "training/experiment_runs.h"

using namespace rtfq;
using namespace rtfq::benchmark;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

class Tree {
 public:
  fs::path root = fs::temp_directory_path() / ("rtfq-benchmark-" + std::to_string(::getpid()));
  Tree() { fs::remove_all(root); }
  ~Tree() { fs::remove_all(root); }
  void image(const std::string& path) const {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path);
  }
  /// `count` images of each class.
  void domain(const std::string& folder, const std::vector<std::string>& classes, int count = 3) const {
    for (const std::string& name : classes)
      for (int i = 0; i < count; ++i) image(folder + "/" + name + "/" + std::to_string(i) + ".jpg");
  }
  void list(const std::string& path, const std::string& folder, const std::vector<std::string>& classes,
            int from, int to) const {
    fs::create_directories((root / path).parent_path());
    std::ofstream out(root / path);
    for (std::size_t k = 0; k < classes.size(); ++k)
      for (int i = from; i < to; ++i) out << folder << "/" << classes[k] << "/" << i << ".jpg " << k << "\n";
  }
};

const std::vector<std::string> three{"bike", "desk lamp", "mug"};

std::vector<std::string> codes(const Protocol& p) {
  std::vector<std::string> out;
  for (const Domain& d : p.domains) out.push_back(d.code);
  return out;
}

Located located(const std::string& name, const Tree& tree) {
  return locate(protocol(name), tree.root.string(), codes(protocol(name)));
}

std::string all(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

}  // namespace

TEST_CASE("benchmarks: counts of the literature") {
  const auto images = [](const char* name) {
    std::vector<int64_t> out;
    for (const Domain& d : protocol(name).domains) out.push_back(d.images.front());
    return out;
  };
  CHECK(images("office31") == std::vector<int64_t>{2817, 498, 795});
  CHECK(images("office-home") == std::vector<int64_t>{2427, 4365, 4439, 4357});
  CHECK(images("pacs") == std::vector<int64_t>{2048, 2344, 1670, 3929});
  CHECK(images("visda") == std::vector<int64_t>{152397, 55388});
  for (const Domain& d : protocol("domainnet").domains) CHECK(d.train + d.test == d.images.front());
  for (const std::string& name : protocol_names())
    for (const std::string& task : protocol(name).tasks) {
      const auto [from, to] = domains_of(protocol(name), task);
      CHECK(task == from + "2" + to);
    }
  CHECK(protocol("Office_Home").tasks.size() == 12);
  CHECK(protocol("domainnet").tasks.size() == 12);
  CHECK_THAT(refusal([] { protocol("office32"); }), Contains("did you mean 'office31'"));
}

TEST_CASE("benchmarks: the layouts of archives and libraries") {
  const auto places = [](const std::string& name, const Tree& tree) {
    std::map<std::string, std::string> out;
    for (const auto& [code, place] : located(name, tree).places) out[code] = place.train;
    return out;
  };
  using Places = std::map<std::string, std::string>;
  {
    const Tree tree;  // the original archive: DOMAIN/images/CLASS
    for (const char* domain : {"amazon", "dslr", "webcam"})
      tree.domain(std::string("domain_adaptation_images/") + domain + "/images", three);
    const std::string top = "domain_adaptation_images/";
    CHECK(places("office31", tree) ==
          Places{{"A", top + "amazon/images"}, {"D", top + "dslr/images"}, {"W", top + "webcam/images"}});
  }
  for (const char* real : {"Real World", "Real_World", "RealWorld"}) {
    const Tree tree;
    for (const char* domain : {"Art", "Clipart", "Product", real}) tree.domain(domain, three);
    tree.image("ImageInfo.csv/unrelated.jpg");
    CHECK(places("office-home", tree) ==
          Places{{"Ar", "Art"}, {"Cl", "Clipart"}, {"Pr", "Product"}, {"Rw", real}});
  }
  {
    const Tree tree;  // DomainBed's downloads have a folder around
    for (const char* domain : {"art_painting", "cartoon", "photo", "sketch"})
      tree.domain(std::string("PACS/kfold/") + domain, three);
    CHECK(places("pacs", tree).at("S") == "PACS/kfold/sketch");
  }
  {
    const Tree tree;  // lists in a folder of their own, as TLlib has them, and no class folders
    for (const char* domain : {"amazon", "dslr", "webcam"}) {
      tree.image(std::string(domain) + "_files/0.jpg");
      fs::create_directories(tree.root / "image_list");
      std::ofstream(tree.root / "image_list" / (std::string(domain) + ".txt"))
          << domain << "_files/0.jpg 0\n";
    }
    CHECK(places("office31", tree).at("W") == "image_list/webcam.txt");
  }
  {
    const Tree tree;
    for (const char* domain : {"train", "validation"}) {
      tree.domain(domain, three);
      std::ofstream(tree.root / domain / "image_list.txt") << "bike/0.jpg 0\n";
    }
    CHECK(places("visda", tree) == Places{{"R", "validation"}, {"S", "train"}});
  }
}

TEST_CASE("benchmarks: DomainNet's lists split training and test") {
  const Tree tree;
  for (const std::string lists : {"", "image_list/"}) {
    for (const std::string domain : {"clipart", "real"}) {
      tree.domain(domain, three, 4);
      tree.list(lists + domain + "_train.txt", domain, three, 0, 3);
      tree.list(lists + domain + "_test.txt", domain, three, 3, 4);
    }
    const Located found = locate(protocol("domainnet"), tree.root.string(), {"c", "r"});
    CHECK(found.places.at("c").train == lists + "clipart_train.txt");
    CHECK(found.places.at("r").test == lists + "real_test.txt");
    CHECK(found.places.at("r").train_images == 9);
    CHECK(found.places.at("r").test_images == 3);
    CHECK_THAT(all(found.notes),
               Contains("clipart, training list: 9 images, expected 33,525: 33,516 missing"));
    const Configured c = configure(protocol("domainnet"), found, "ROOT", "r2c", {});
    CHECK(std::find(c.settings.begin(), c.settings.end(),
                    "data.evaluation=ROOT/" + lists + "clipart_test.txt") != c.settings.end());
    for (const std::string domain : {"clipart", "real"})
      for (const std::string part : {"_train.txt", "_test.txt"})
        fs::remove(tree.root / (lists + domain + part));
  }
  const Located found = locate(protocol("domainnet"), tree.root.string(), {"c", "r"});
  CHECK(found.places.at("c").train == "clipart");
  CHECK_THAT(all(found.notes), Contains("no lists NAME_train.txt"));
}

TEST_CASE("benchmarks: what is missing or surplus is said") {
  const Tree tree;
  tree.domain("photo", three, 3);
  tree.domain("art_painting", three, 1000);
  const Located found = located("pacs", tree);
  CHECK_THAT(all(found.notes), Contains("sketch is missing") && Contains("cartoon is missing") &&
                                   Contains("photo: 9 images, expected 1,670: 1,661 missing") &&
                                   Contains("art painting: 3,000 images, expected 2,048: 952 surplus") &&
                                   Contains("photo: 3 classes, expected 7"));
  std::vector<std::string> notes;
  const std::string text = experiment_text(protocol("pacs"), found, {}, notes);
  CHECK_THAT(all(notes), Contains("left out, since a domain is missing: A2C, A2S, C2A, C2P"));
  const auto experiment = experiment::parse_experiment(text, "pacs.jsonc");
  CHECK(experiment.tasks.size() == 2);
  CHECK_THAT(experiment.footer, Contains("Tasks left out") && Contains("last model, no target label used") &&
                                    Contains("random weights"));
  // The hash is of paths and classes: another image, another hash; another place, the same.
  const std::string hash = found.places.at("P").hash;
  CHECK_THAT(experiment.footer, Contains(hash.substr(0, 12)));
  fs::create_directories(tree.root / "deeper");
  fs::rename(tree.root / "photo", tree.root / "deeper/photo");
  fs::rename(tree.root / "art_painting", tree.root / "deeper/art_painting");
  CHECK(located("pacs", tree).places.at("P").hash == hash);
  tree.image("deeper/photo/mug/new.jpg");
  CHECK(located("pacs", tree).places.at("P").hash != hash);

  fs::remove_all(tree.root / "deeper/photo/mug");
  CHECK_THAT(refusal([&] { located("pacs", tree); }),
             Contains("differ in their classes") && Contains("lacks mug"));
  CHECK_THAT(refusal([&] { located("digits", tree); }), Contains("none of the domains"));
  CHECK_THAT(refusal([&] { locate(protocol("pacs"), "/nowhere", {"P"}); }), Contains("does not exist"));
}

TEST_CASE("benchmarks: steps are epochs over the longer set") {
  const Tree tree;
  tree.domain("amazon", three, 100);
  tree.domain("dslr", three, 20);
  const Located found = located("office31", tree);
  const Protocol& p = protocol("office31");
  const auto value = [](const Configured& c, const std::string& key) {
    for (const std::string& setting : c.settings)
      if (setting.rfind(key + "=", 0) == 0) return setting.substr(key.size() + 1);
    return std::string();
  };
  // 300 images in batches of 32: 10 steps an epoch, 10 + 3 + 8 epochs.
  const Configured random = configure(p, found, "R", "d2a", {});
  CHECK(random.base == "pacs");
  CHECK(value(random, "train.steps") == "210");
  CHECK(value(random, "train.float_steps") == "100");
  CHECK(value(random, "train.source_steps") == "30");
  CHECK(value(random, "data.source") == "R/dslr");
  CHECK(value(random, "model.arch") == "resnet50");
  Wanted wanted;
  wanted.settings = {"train.batch=100"};
  wanted.arch = "resnet34";
  CHECK(value(configure(p, found, "R", "A2D", wanted), "train.steps") == "63");
  CHECK(value(configure(p, found, "R", "A2D", wanted), "model.arch") == "resnet34");
  wanted.steps = 20;
  CHECK(value(configure(p, found, "R", "A2D", wanted), "train.float_steps") == "10");
  CHECK_THAT(refusal([&] { domains_of(p, "A2X"); }), Contains("no task of Office-31"));
  CHECK_THAT(refusal([&] { domains_of(p, "A2A"); }), Contains("no task of Office-31"));
  wanted.methods = {"ptk"};
  std::vector<std::string> notes;
  CHECK_THAT(refusal([&] { experiment_text(p, found, wanted, notes); }), Contains("did you mean 'ptq'"));
}

TEST_CASE("benchmarks: every protocol's experiment is one that runs") {
  for (const std::string& name : protocol_names()) {
    const Protocol& p = protocol(name);
    Located found;
    for (const Domain& d : p.domains)
      found.places[d.code] = {d.names[0], d.names[0], 100, 100, "0123456789abcdef"};
    Wanted wanted;
    wanted.methods = {"rtfq", "rtff", "ptq", "bits8", "bits6", "bits4", "source-only", "mcc"};
    wanted.seeds = 2;
    std::vector<std::string> notes;
    const auto experiment = experiment::parse_experiment(experiment_text(p, found, wanted, notes), name);
    CHECK(notes.empty());
    INFO(name);
    CHECK(experiment.tasks.size() == p.tasks.size());
    const auto runs = experiment::list_runs(experiment, {"out", {{"root", "R"}}, {}});
    CHECK(runs.size() == p.tasks.size() * 8 * 2);
    CHECK(runs.front().config.data.source.rfind("R/", 0) == 0);
    CHECK(experiment.evaluation.metric == (name == "visda" ? "class_mean" : "accuracy"));
    for (const auto& table : experiment.tables)
      if (table.name == "tasks") CHECK(table.published.size() == p.published.size());
  }
}
