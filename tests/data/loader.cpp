#include "data/loader.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <thread>

#include "tests/data/folder.h"

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

/// `count` images of 12 x 10 pixels in `classes` class folders, each of a grey value of its own on an uneven
/// ground.
Dataset write_images(const Folder& folder, int count, int classes = 3) {
  for (int i = 0; i < count; ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "c%d/%04d.png", i % classes, i);
    folder.write(name, pattern(12, 10, 3, static_cast<uint32_t>(i) + 1));
  }
  return open_dataset(folder.path());
}

LoaderOptions options(int batch, int threads = 2) {
  LoaderOptions o;
  o.batch = batch;
  o.resolution = 8;
  o.seed = 7;
  o.threads = threads;
  return o;
}

Augmentation everything() {
  Augmentation a;
  a.rotation = 20;
  a.scale = 0.2f;
  a.shear = 0.1f;
  a.shift = 0.1f;
  a.flip = true;
  a.crop = 0.5f;
  return a;
}

bool same(const Batch& a, const Batch& b) {
  return a.n == b.n && a.height == b.height && a.width == b.width && a.channels == b.channels &&
         a.pixels == b.pixels && a.labels == b.labels && a.indices == b.indices;
}

std::vector<Batch> take(Loader& loader, int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(loader.next());
  return batches;
}

bool same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) { return same(x, y); });
}

}  // namespace

TEST_CASE("batches have what they say") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 9);
  Loader loader(dataset, options(4));
  CHECK(loader.steps_per_epoch() == 3);
  for (int step = 0; step < 5; ++step) {
    CHECK(loader.step() == static_cast<uint64_t>(step));
    const Batch batch = loader.next();
    REQUIRE(batch.n == 4);
    REQUIRE((batch.height == 8 && batch.width == 8 && batch.channels == 3));
    REQUIRE(batch.pixels.size() == 4 * 8 * 8 * 3);
    for (size_t i = 0; i < 4; ++i) {
      const Sample& sample = dataset.samples.at(batch.indices.at(i));
      CHECK(batch.labels.at(i) == sample.label);
      const Image expected = prepare(load_image(sample.path, 3), 0, 8);
      CHECK(std::equal(expected.pixels.begin(), expected.pixels.end(),
                       batch.pixels.begin() + static_cast<long>(i * 192)));
    }
  }
  Loader bare(without_labels(dataset), options(4));
  const Batch batch = bare.next();
  CHECK(batch.labels.empty());
  CHECK(batch.n == 4);
}

TEST_CASE("any number of threads, cached or not: the same batches") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 37);
  LoaderOptions o = options(8, 0);
  o.augmentation = everything();
  Loader plain(dataset, o);
  const std::vector<Batch> expected = take(plain, 14);
  for (const int threads : {1, 2, 4})
    for (const int64_t cache : {0, 5000, 1 << 20}) {
      o.threads = threads;
      o.cache_bytes = cache;
      Loader loader(dataset, o);
      CHECK(same(take(loader, 14), expected));
      CHECK(loader.wait_seconds() >= 0);
    }
}

TEST_CASE("seek gives what reading on gives") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 23);
  LoaderOptions o = options(5);
  o.augmentation = everything();
  Loader loader(dataset, o);
  const std::vector<Batch> sequence = take(loader, 20);
  for (const uint64_t step : {17u, 3u, 4u, 0u, 19u, 18u, 5u, 7u, 6u}) {
    loader.seek(step);
    CHECK(loader.step() == step);
    CHECK(same(loader.next(), sequence[step]));
  }
  loader.seek(1'000'000'000);
  const Batch far = loader.next();
  Loader other(dataset, o);
  other.seek(1'000'000'000);
  CHECK(same(other.next(), far));
}

TEST_CASE("epochs are permutations, all different, and batches run across their borders") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 23);
  Loader loader(dataset, options(5));
  std::vector<uint32_t> order;
  for (const Batch& batch : take(loader, 23))
    order.insert(order.end(), batch.indices.begin(), batch.indices.end());
  REQUIRE(order.size() == 5 * 23);
  std::set<std::vector<uint32_t>> epochs;
  for (size_t e = 0; e < 5; ++e) {
    std::vector<uint32_t> epoch(order.begin() + static_cast<long>(e * 23),
                                order.begin() + static_cast<long>(e * 23 + 23));
    epochs.insert(epoch);
    std::sort(epoch.begin(), epoch.end());
    for (uint32_t i = 0; i < 23; ++i) REQUIRE(epoch[i] == i);
  }
  CHECK(epochs.size() == 5);

  LoaderOptions o = options(5);
  o.stream = 1;
  Loader target(dataset, o);
  CHECK(target.next().indices != std::vector<uint32_t>(order.begin(), order.begin() + 5));
  o.stream = 0;
  o.seed = 8;
  Loader reseeded(dataset, o);
  CHECK(reseeded.next().indices != std::vector<uint32_t>(order.begin(), order.begin() + 5));
}

TEST_CASE("an image is augmented anew in every epoch") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 2, 2);
  LoaderOptions o = options(2);
  o.augmentation.rotation = 30;
  Loader loader(dataset, o);
  std::set<std::vector<uint8_t>> pixels;
  for (const Batch& batch : take(loader, 6))
    for (size_t i = 0; i < 2; ++i)
      pixels.emplace(batch.pixels.begin() + static_cast<long>(i * 192),
                     batch.pixels.begin() + static_cast<long>(i * 192 + 192));
  CHECK(pixels.size() == 12);
}

TEST_CASE("a batch larger than the data set goes through several epochs") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 3, 1);
  Loader loader(dataset, options(10));
  const Batch batch = loader.next();
  REQUIRE(batch.n == 10);
  for (uint32_t sample = 0; sample < 3; ++sample)
    CHECK(std::count(batch.indices.begin(), batch.indices.end(), sample) >= 3);
  CHECK(loader.steps_per_epoch() == 1);
}

TEST_CASE("ranks share the batches of one order") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 20);
  for (const bool training : {true, false}) {
    LoaderOptions o = options(3);
    o.training = training;
    if (training) o.augmentation = everything();
    Loader all(dataset, o);
    const std::vector<Batch> expected = take(all, 7);
    int64_t total = 0;
    for (int rank = 0; rank < 3; ++rank) {
      o.rank = rank;
      o.ranks = 3;
      Loader loader(dataset, o);
      total += loader.steps_per_epoch();
      for (size_t step = 0; 3 * step + static_cast<size_t>(rank) < 7; ++step)
        CHECK(same(loader.next(), expected[3 * step + static_cast<size_t>(rank)]));
    }
    CHECK(total == (training ? 9 : 7));
  }
}

TEST_CASE("evaluation: in order, a shorter last batch, then nothing") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 11);
  LoaderOptions o = options(4);
  o.training = false;
  o.augmentation = everything();
  o.augmentation.resize = 10;
  Loader loader(dataset, o);
  REQUIRE(loader.steps_per_epoch() == 3);
  uint32_t index = 0;
  for (const int n : {4, 4, 3}) {
    const Batch batch = loader.next();
    REQUIRE(batch.n == n);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i, ++index) {
      CHECK(batch.indices[i] == index);
      const Image expected = prepare(load_image(dataset.samples[index].path, 3), 10, 8);
      CHECK(std::equal(expected.pixels.begin(), expected.pixels.end(),
                       batch.pixels.begin() + static_cast<long>(i * 192)));
    }
  }
  CHECK(loader.next().n == 0);
  CHECK(loader.next().n == 0);
  loader.seek(0);
  CHECK(loader.next().n == 4);
}

TEST_CASE("a worker's error comes out of next, at its step, naming the file") {
  const Folder folder;
  write_images(folder, 12, 1);
  const std::string bad = folder.write("c0/0005.png", std::string("not an image"));
  const Dataset dataset = open_dataset(folder.path());
  for (const int threads : {0, 1, 4}) {
    LoaderOptions o = options(2, threads);
    o.training = false;
    Loader loader(dataset, o);
    CHECK(loader.next().n == 2);
    CHECK(loader.next().n == 2);
    for (int again = 0; again < 2; ++again) {
      CHECK_THAT(message([&] { loader.next(); }), Contains(bad) && Contains("not a PNG"));
      CHECK(loader.step() == 2);
    }
    loader.seek(3);
    CHECK(loader.next().indices == std::vector<uint32_t>{6, 7});
  }
}

TEST_CASE("bad images skipped: replaced in training, dropped in evaluation") {
  const Folder folder;
  write_images(folder, 12, 1);
  for (const char* name : {"c0/0003.png", "c0/0004.png", "c0/0011.png"})
    folder.write(name, std::string("not an image"));
  const Dataset dataset = open_dataset(folder.path());
  const std::set<uint32_t> bad = {3, 4, 11};
  LoaderOptions o = options(4, 0);
  o.bad_images = BadImages::skip;
  o.augmentation = everything();
  Loader reference(dataset, o);
  const std::vector<Batch> expected = take(reference, 9);
  CHECK(reference.skipped() == 3);
  for (const int threads : {1, 4}) {
    o.threads = threads;
    Loader loader(dataset, o);
    CHECK(same(take(loader, 9), expected));
    CHECK(loader.skipped() == 3);
  }
  // The order without the skipping names who was replaced: by the next good sample, the last by the first.
  const Folder whole;
  LoaderOptions p = options(4, 0);
  Loader order(write_images(whole, 12, 1), p);
  for (const Batch& batch : expected) {
    const Batch original = order.next();
    for (size_t i = 0; i < 4; ++i) {
      uint32_t sample = original.indices[i];
      while (bad.count(sample)) sample = (sample + 1) % 12;
      CHECK(batch.indices[i] == sample);
    }
  }

  o.training = false;
  Loader evaluation(dataset, o);
  CHECK(evaluation.next().indices == std::vector<uint32_t>{0, 1, 2});
  CHECK(evaluation.skipped() == 1);
  const Batch second = evaluation.next();
  CHECK(second.indices == std::vector<uint32_t>{5, 6, 7});
  CHECK(second.n == 3);
  CHECK(second.pixels.size() == 3 * 192);
  CHECK(second.labels.size() == 3);
  const Image six = prepare(load_image(dataset.samples[6].path, 3), 0, 8);
  CHECK(std::equal(six.pixels.begin(), six.pixels.end(), second.pixels.begin() + 192));
  CHECK(evaluation.next().indices == std::vector<uint32_t>{8, 9, 10});
  CHECK(evaluation.skipped() == 3);
}

TEST_CASE("nothing but bad images: an error even when skipping") {
  const Folder folder;
  for (const char* name : {"c/1.png", "c/2.png"}) folder.write(name, std::string("x"));
  LoaderOptions o = options(2);
  o.bad_images = BadImages::skip;
  Loader loader(open_dataset(folder.path()), o);
  CHECK_THAT(message([&] { loader.next(); }), Contains("cannot read"));
}

TEST_CASE("destroyed and sought in the middle of things") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 30);
  for (int round = 0; round < 40; ++round) {
    LoaderOptions o = options(7, round % 5);
    o.augmentation = everything();
    Loader loader(dataset, o);
    for (int i = 0; i < round % 4; ++i) loader.next();
    if (round % 3 == 0) loader.seek(static_cast<uint64_t>(round * 100));
    if (round % 6 == 0) loader.next();
  }
  SUCCEED();
}

TEST_CASE("workers prepare ahead while the caller is busy") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 30);
  Loader loader(dataset, options(10));
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double before = loader.wait_seconds();
  loader.next();
  CHECK(loader.wait_seconds() - before < 0.1);
}

TEST_CASE("options that cannot be") {
  const Folder folder;
  const Dataset dataset = write_images(folder, 3);
  const auto why = [&](auto&& change) {
    LoaderOptions o = options(2);
    change(o);
    return message([&] { Loader loader(dataset, o); });
  };
  CHECK_THAT(why([](LoaderOptions& o) { o.batch = 0; }), Contains("batch must be positive"));
  CHECK_THAT(why([](LoaderOptions& o) { o.channels = 4; }), Contains("channels must be 1 or 3"));
  CHECK_THAT(why([](LoaderOptions& o) { o.threads = -1; }), Contains("threads"));
  CHECK_THAT(why([](LoaderOptions& o) { o.rank = 2, o.ranks = 2; }), Contains("rank 2 of 2"));
  CHECK_THAT(why([](LoaderOptions& o) { o.stream = 256; }), Contains("stream"));
  CHECK_THAT(why([](LoaderOptions& o) { o.augmentation.resize = 4; }), Contains("resize"));
  CHECK_THAT(message([] {
               Loader loader(Dataset{"nowhere", {}, {}}, LoaderOptions{});
             }),
             Contains("has no images"));
}
