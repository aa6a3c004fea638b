// Prepared images on disk: nothing is decoded twice, and whatever is wrong with the file, the images are
// right.
#include "data/prepared_cache.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "data/hash.h"
#include "data/loader.h"
#include "tests/data/folder.h"

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

Dataset write_images(const Folder& folder, int count) {
  for (int i = 0; i < count; ++i)
    folder.write("set/c" + std::to_string(i % 2) + "/" + std::to_string(i) + ".png",
                 pattern(20 + i, 31, 3, static_cast<uint32_t>(i) + 1));
  return open_dataset(folder.path("set"));
}

/// What was said while a cache was opened.
struct Told {
  std::string text;
  PreparedCache::Say say = [this](const std::string& line) { text += line + "\n"; };
};

Preparation squashed(int side) {
  Preparation p;
  p.augmentation.resize = side;
  p.augmentation.squash = true;
  return p;
}

std::shared_ptr<PreparedCache> open(const Folder& folder, const Dataset& dataset, const Preparation& p,
                                    Told& told) {
  return PreparedCache::open(folder.path("cache"), "the set", dataset.samples, p, 2, told.say);
}

/// Every image is what decoding makes of its file.
bool right(PreparedCache& cache, const Dataset& dataset, const Preparation& p) {
  for (uint32_t i = 0; i < dataset.samples.size(); ++i) {
    const auto image = cache.get(i);
    const Image expected = prepare_file(dataset.samples[i].path, p);
    if (!image || image->height != expected.height || image->width != expected.width ||
        image->pixels != expected.pixels)
      return false;
  }
  return true;
}

int files_in(const std::string& folder, const std::string& ending) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) count += entry.path().string().ends_with(ending);
  return count;
}

}  // namespace

TEST_CASE("prepared images: the second epoch and the second run decode nothing") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 11);
  LoaderOptions o;
  o.batch = 4;
  o.resolution = 16;
  o.augmentation.resize = 24;
  o.augmentation.squash = true;
  o.augmentation.flip = true;
  o.augmentation.crop = 0.5f;
  std::vector<std::vector<uint8_t>> plain;
  {
    Loader loader(dataset, o);
    for (int i = 0; i < 6; ++i) plain.push_back(loader.next().pixels);
  }
  o.cache_folder = folder.path("cache");
  const int64_t before = decoded_images();
  for (int run = 0; run < 2; ++run) {
    Loader loader(dataset, o);
    for (int i = 0; i < 6; ++i) CHECK(loader.next().pixels == plain[static_cast<size_t>(i)]);
    CHECK(decoded_images() == before + 11);  // once each, in the first run
  }
  // Evaluation and another augmentation take the same file; another size does not.
  o.training = false;
  CHECK(Loader(dataset, o).next().n == 4);
  o.training = true;
  o.augmentation.crop = 0;
  CHECK(Loader(without_labels(dataset), o).next().n == 4);
  CHECK(decoded_images() == before + 11);
  CHECK(files_in(o.cache_folder, ".images") == 1);
  o.augmentation.resize = 20;
  CHECK(Loader(dataset, o).next().n == 4);
  CHECK(decoded_images() == before + 22);
}

TEST_CASE("prepared images: what has changed is made anew, the rest copied") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 9);
  const Preparation p = squashed(16);
  Told told;
  {
    const auto cache = open(folder, dataset, p, told);
    REQUIRE(cache);
    CHECK_THAT(told.text, Contains("making the prepared images of the set: 9 images"));
    CHECK(right(*cache, dataset, p));
  }
  // Same size, another time; and another size.
  folder.write("set/c0/4.png", pattern(24, 31, 3, 77));
  fs::last_write_time(dataset.samples[1].path,
                      fs::last_write_time(dataset.samples[1].path) + std::chrono::seconds(2));
  Told again;
  const int64_t before = decoded_images();
  const auto cache = open(folder, dataset, p, again);
  REQUIRE(cache);
  CHECK_THAT(again.text, Contains("of its images have changed") && Contains("2 of the prepared images"));
  CHECK(decoded_images() == before + 2);
  CHECK(right(*cache, dataset, p));
  Told quiet;
  CHECK(open(folder, dataset, p, quiet));
  CHECK(quiet.text.empty());
}

TEST_CASE("prepared images: a file that is cut, damaged or foreign") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 7);
  const Preparation p = squashed(16);
  Told told;
  const std::string path = open(folder, dataset, p, told)->path();
  const std::string whole = read_bytes(path);
  const auto rebuilt = [&](const std::string& bytes, const std::string& why) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    Told now;
    const auto cache = open(folder, dataset, p, now);
    CHECK_THAT(now.text, Contains("made anew: " + why));
    REQUIRE(cache);
    CHECK(right(*cache, dataset, p));
    Told quiet;
    CHECK(open(folder, dataset, p, quiet));
    CHECK(quiet.text.empty());
  };
  rebuilt(whole.substr(0, 10), "it is truncated");
  rebuilt(whole.substr(0, whole.size() - 1), "it is truncated");
  rebuilt("", "it is truncated");
  rebuilt(std::string(whole.size(), 'x'), "it is of another kind");
  std::string damaged = whole;
  damaged[100] = static_cast<char>(damaged[100] ^ 1);
  rebuilt(damaged, "its index is damaged");

  // Damage of the pixels shows when they are read: that run decodes, the next one makes the file anew.
  damaged = whole;
  damaged[damaged.size() - 5] = static_cast<char>(damaged[damaged.size() - 5] ^ 1);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << damaged;
  Told now;
  const auto cache = open(folder, dataset, p, now);
  REQUIRE(cache);
  CHECK(now.text.empty());
  int absent = 0;
  for (uint32_t i = 0; i < 7; ++i) absent += cache->get(i) == nullptr;
  CHECK(absent >= 1);
  CHECK_THAT(now.text, Contains("damaged: decoding instead"));
  Told last;
  const auto anew = open(folder, dataset, p, last);
  REQUIRE(anew);
  CHECK(right(*anew, dataset, p));
  CHECK_THAT(last.text, Contains("making the prepared images"));
}

TEST_CASE("prepared images: bad files keep their error, a loader with a damaged cache its images") {
  const Folder folder;
  write_images(folder, 6);
  const std::string bad = folder.write("set/c0/bad.png", std::string("not an image"));
  const Dataset dataset = open_dataset(folder.path("set"));
  LoaderOptions o;
  o.batch = 7;
  o.resolution = 16;
  o.training = false;
  o.cache_folder = folder.path("cache");
  for (int run = 0; run < 2; ++run)
    CHECK_THAT(message([&] { Loader(dataset, o).next(); }), Contains(bad + ": it is not a PNG"));
  o.bad_images = BadImages::skip;
  const int64_t before = decoded_images();
  Loader loader(dataset, o);
  CHECK(loader.next().n == 6);
  CHECK(loader.skipped() == 1);
  CHECK(decoded_images() == before);
}

TEST_CASE("prepared images: a full disk is said, and images are decoded") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 8);
  // A limit on the size of files does what a full disk does: writing fails in the middle.
  struct rlimit limit {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 3000, limit.rlim_max };
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  Told told;
  const auto cache = open(folder, dataset, squashed(32), told);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK_FALSE(cache);
  CHECK_THAT(told.text, Contains("no prepared images of the set") && Contains("too large") &&
                            Contains("decoded as they are needed"));
  CHECK(files_in(folder.path("cache"), ".images") == 0);  // nothing half-made is left
  for (const auto& entry : fs::directory_iterator(folder.path("cache")))
    CHECK(entry.path().extension() == ".lock");
  Told now;
  CHECK(open(folder, dataset, squashed(32), now));

  folder.write("file", std::string("in the way"));
  Told blocked;
  CHECK_FALSE(
      PreparedCache::open(folder.path("file"), "the set", dataset.samples, squashed(32), 1, blocked.say));
  CHECK_THAT(blocked.text, Contains("no prepared images"));
}

TEST_CASE("prepared images: processes that share a folder decode once") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 40);
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      const int64_t before = decoded_images();
      Told told;
      const auto cache = open(folder, dataset, squashed(64), told);
      const int64_t decoded = decoded_images() - before;
      folder.write("decoded" + std::to_string(i), std::to_string(decoded));
      const bool good = cache && right(*cache, dataset, squashed(64));
      ::_exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  int64_t decoded = 0;
  for (size_t i = 0; i < children.size(); ++i) {
    int status = -1;
    ::waitpid(children[i], &status, 0);
    CHECK(status == 0);
    decoded += std::stoll(read_bytes(folder.path("decoded" + std::to_string(i))));
  }
  CHECK(decoded == 40);
}

TEST_CASE("checksums change with any flipped bit and any missing byte") {
  const Folder folder;
  std::string bytes = read_bytes(folder.write("noise.png", pattern(9, 9, 3)));
  const uint64_t sum = checksum(bytes.data(), bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(bytes[i] ^ 4);
    CHECK(checksum(bytes.data(), bytes.size()) != sum);
    bytes[i] = static_cast<char>(bytes[i] ^ 4);
  }
  CHECK(checksum(bytes.data(), bytes.size() - 1) != sum);
  CHECK(checksum(bytes.data(), bytes.size()) == sum);
}
