// `rtfq eval CHECKPOINT --imagenet`: accuracy on a made-up validation folder against logits of the same
// pixels.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "data/transform.h"
#include "engine/array_file.h"
#include "tests/tools/command.h"

using Catch::Matchers::Contains;
using namespace rtfq;
using rtfq::test::Outcome;
using rtfq::test::Process;
namespace fs = std::filesystem;

namespace {

const std::string network = RTFQ_SOURCE_DIR "/tests/checkpoints/zip.pth";

class Validation {
 public:
  fs::path root = fs::temp_directory_path() / ("rtfq-imagenet-" + std::to_string(::getpid()));
  std::vector<data::Image> images;
  Validation() {
    fs::remove_all(root);
    fs::create_directories(root);
    for (int i = 0; i < count; ++i) {
      Random random(11, Purpose::test, static_cast<uint64_t>(i));
      data::Image image{250 + 9 * i, 300 - 7 * i, 3, {}};
      image.pixels.resize(image.offset(image.height, 0));
      const int period = 20 + static_cast<int>(random.below(60));
      const uint32_t tint = random.integer();
      for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x)
          for (std::size_t c = 0; c < 3; ++c)
            image.pixels[image.offset(y, x) + c] =
                static_cast<uint8_t>((tint >> (8 * c)) + static_cast<uint32_t>((x / period + y / 31) * 40));
      images.push_back(image);
    }
  }
  ~Validation() { fs::remove_all(root); }
  Outcome rtfq(const std::vector<std::string>& words) const { return Process(root, words).wait(); }

  /// Logits of the images as a recipe prepares them, by `rtfq forward`.
  std::vector<std::vector<float>> logits(int shorter) const {
    const Tensor x = Tensor::empty({count, 3, 224, 224});
    const float mean[] = {0.485f, 0.456f, 0.406f}, deviation[] = {0.229f, 0.224f, 0.225f};
    for (int i = 0; i < count; ++i) {
      const data::Image image = data::prepare(images[static_cast<std::size_t>(i)], shorter, 224);
      for (int c = 0; c < 3; ++c)
        for (int p = 0; p < 224 * 224; ++p)
          x.as<float>()[((i * 3) + c) * 224 * 224 + p] =
              (static_cast<float>(image.pixels[static_cast<std::size_t>(p * 3 + c)]) / 255 - mean[c]) /
              deviation[c];
    }
    save_npy((root / "x.npy").string(), x);
    const Outcome forward = rtfq(
        {"forward", network, "--input", (root / "x.npy").string(), "--output", (root / "y.npy").string()});
    INFO(forward.err);
    REQUIRE(forward.status == 0);
    const Tensor y = load_npy((root / "y.npy").string());
    std::vector<std::vector<float>> out;
    for (int64_t i = 0; i < count; ++i)
      out.emplace_back(y.as<float>() + i * y.dim(1), y.as<float>() + (i + 1) * y.dim(1));
    return out;
  }

  static constexpr int count = 8;
};

/// "12.500": the share of images with their label among the `top` best.
std::string accuracy(const std::vector<std::vector<float>>& logits, const std::vector<int>& labels, int top) {
  int right = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    int above = 0;
    for (const float value : logits[i]) above += value > logits[i][static_cast<std::size_t>(labels[i])];
    right += above < top;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.3f %%", 100.0 * right / static_cast<double>(logits.size()));
  return text;
}

}  // namespace

TEST_CASE("eval --imagenet: both recipes on a made-up validation folder") {
  const Validation place;
  const auto first = place.logits(256);
  const int classes = static_cast<int>(first[0].size());
  // Every other image's label is its answer, the others' are spread.
  std::vector<int> labels;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const int answer =
        static_cast<int>(std::max_element(first[i].begin(), first[i].end()) - first[i].begin());
    labels.push_back(i % 2 ? answer : static_cast<int>(i * 3 + 1) % classes);
  }
  std::string list, named;
  for (int k = 0; k < classes; ++k)
    fs::create_directories(place.root / "val" / ("n0144" + std::to_string(1000 + k)));
  std::set<int> seen;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string name = "n0144" + std::to_string(1000 + labels[i]);
    data::save_png((place.root / "val" / name / (std::to_string(i) + ".png")).string(), place.images[i]);
    list += "val/" + name + "/" + std::to_string(i) + ".png " + std::to_string(labels[i]) + "\n";
    seen.insert(labels[i]);
  }
  std::ofstream(place.root / "list.txt") << list;

  const auto second = place.logits(232);
  for (const auto& [recipe, logits] : {std::pair{"v1", first}, {"v2", second}}) {
    const Outcome outcome =
        place.rtfq({"eval", network, "--imagenet", (place.root / "list.txt").string(), "--recipe", recipe});
    INFO(recipe << outcome.err << outcome.out);
    REQUIRE(outcome.status == 0);
    CHECK_THAT(outcome.out, Contains("top 1     " + accuracy(logits, labels, 1) + "\n") &&
                                Contains("top 5     " + accuracy(logits, labels, 5) + "\n") &&
                                Contains("shorter side to " + std::string(recipe[1] == '1' ? "256" : "232")));
    CHECK_THAT(outcome.err, Contains("50,000"));
  }
  // Folders name all classes: those without an image here are filled.
  for (int k = 0; k < classes; ++k)
    if (!seen.contains(k))
      data::save_png((place.root / "val" / ("n0144" + std::to_string(1000 + k)) / "more.png").string(),
                     place.images[0]);
  const Outcome folders = place.rtfq({"eval", network, "--imagenet", (place.root / "val").string()});
  INFO(folders.err);
  CHECK(folders.status == 0);
  CHECK_THAT(folders.out, Contains("top 1 "));

  fs::remove_all(place.root / "val" / "n01441000");
  const Outcome fewer = place.rtfq({"eval", network, "--imagenet", (place.root / "val").string()});
  CHECK(fewer.status == 2);
  CHECK_THAT(fewer.err, Contains("class folders, the network"));
  CHECK(place.rtfq({"eval", network, "--imagenet", (place.root / "val/n01441001").string()}).status == 2);
}
