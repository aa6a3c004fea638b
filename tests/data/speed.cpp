// How fast images are decoded and prepared: hidden, run by name. RTFQ_IMAGES names a folder of JPEG files in
// class folders.
//   RTFQ_IMAGES=photos build/bin/test_data "[speed]"
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "data/dataset.h"
#include "data/jpeg.h"
#include "data/prepared_cache.h"
#include "tests/data/folder.h"

using namespace rtfq::data;

namespace {

template <class Work>
void timed(const char* what, size_t images, const Work& work) {
  double best = 1e9;
  for (int round = 0; round < 3; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::printf("%-52s %8.0f images/s\n", what, static_cast<double>(images) / best);
}

}  // namespace

TEST_CASE("speed of decoding and preparing", "[.][speed]") {
  const char* named = std::getenv("RTFQ_IMAGES");
  REQUIRE(named);
  Dataset dataset = open_dataset(named);
  if (dataset.samples.size() > 300) {  // evenly, all classes
    std::vector<Sample> some;
    for (size_t i = 0; i < 300; ++i) some.push_back(dataset.samples[i * dataset.samples.size() / 300]);
    dataset.samples = some;
  }
  const size_t count = dataset.samples.size();
  std::vector<std::string> files;
  double pixels = 0;
  for (const Sample& sample : dataset.samples) {
    files.push_back(rtfq::test::read_bytes(sample.path));
    const Image image = load_image(sample.path, 3);
    pixels += static_cast<double>(image.height) * image.width;
  }
  std::printf("%zu images, %.0f pixels on average, one thread, best of 3\n", count,
              pixels / static_cast<double>(count));
  const auto decode = [&](Decoding::Jpeg jpeg) {
    for (const std::string& file : files)
      decode_image(reinterpret_cast<const uint8_t*>(file.data()), file.size(), 3, "memory", {jpeg, false});
  };
  const auto scaled = [&](int to) {
    std::string error;
    for (const std::string& file : files)
      decode_turbo(reinterpret_cast<const uint8_t*>(file.data()), file.size(), to, &error);
  };
  timed("decode, stb_image", count, [&] { decode(Decoding::Jpeg::stb); });
  if (turbo_available()) {
    timed("decode, libjpeg-turbo", count, [&] { decode(Decoding::Jpeg::turbo); });
    timed("decode, libjpeg-turbo, scaled to 256 or more", count, [&] { scaled(256); });
    timed("decode, libjpeg-turbo, scaled to 512 or more", count, [&] { scaled(512); });
  }
  Preparation p;
  p.augmentation.resize = 256;
  p.augmentation.squash = true;
  std::vector<Image> decoded;
  for (const Sample& sample : dataset.samples) decoded.push_back(load_image(sample.path, 3));
  timed("resize to 256 x 256", count, [&] {
    for (const Image& image : decoded) standardize(image, p.augmentation);
  });
  timed("random part of a prepared image, 224 x 224, flipped", count, [&] {
    static const Image prepared = standardize(decoded[0], p.augmentation);
    Placement part;
    part.top = 3, part.left = 5, part.height = part.width = 224, part.flip = true;
    for (size_t i = 0; i < count; ++i) place(prepared, part, 224);
  });
  const rtfq::test::Folder folder;
  const auto cache =
      PreparedCache::open(folder.path(), "images", dataset.samples, p, 1, [](const std::string&) {});
  REQUIRE(cache);
  timed("read from prepared images", count, [&] {
    for (uint32_t i = 0; i < count; ++i) cache->get(i);
  });
}
