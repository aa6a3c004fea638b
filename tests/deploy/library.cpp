// The C interface: files and buffers, selection, switching, images of any layout, threads, errors.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "data/transform.h"
#include "engine/ops/ops.h"
#include "tests/deploy/banks.h"
#include "tools/deploy/pixels.h"
#include "tools/deploy/rtfq.h"
#include "tools/deploy/session.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

const std::vector<unsigned char>& bank_file() {
  static const auto file = packed_bank(*seen_bank({.bits = {8, 4}, .resolutions = {32, 24}}));
  return file;
}

struct ModelHandle {
  rtfq_model* model = nullptr;
  ModelHandle() { REQUIRE(rtfq_load_buffer(bank_file().data(), bank_file().size(), &model) == RTFQ_OK); }
  ~ModelHandle() { rtfq_free_model(model); }
};

struct ContextHandle {
  rtfq_context* context = nullptr;
  ContextHandle(rtfq_model* model, std::vector<int> subnets, int batch = 1, int threads = 1) {
    const rtfq_context_options options{threads, batch, subnets.data(), static_cast<int>(subnets.size())};
    const rtfq_status status = rtfq_new_context(model, &options, &context);
    INFO(rtfq_error());
    REQUIRE(status == RTFQ_OK);
  }
  ~ContextHandle() { rtfq_free_context(context); }
};

data::Image noise_image(int height, int width, int channels, uint64_t seed) {
  Random random(seed, Purpose::test);
  data::Image image{height, width, channels, {}};
  image.pixels.resize(image.offset(height, 0));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  return image;
}

std::vector<float> run_image(rtfq_context* context, const rtfq_image& image) {
  std::vector<float> logits(5);
  INFO(rtfq_error());
  REQUIRE(rtfq_run_image(context, &image, logits.data()) == RTFQ_OK);
  return logits;
}

}  // namespace

TEST_CASE("librtfq: lists what a file holds") {
  const ModelHandle m;
  CHECK(rtfq_api_version() == RTFQ_API_VERSION);
  CHECK(rtfq_class_count(m.model) == 5);
  CHECK(std::string(rtfq_class_name(m.model, 1)) == "bee");
  CHECK(rtfq_class_name(m.model, 5) == nullptr);
  CHECK(rtfq_class_name(m.model, -1) == nullptr);
  CHECK(rtfq_channels(m.model) == 3);
  CHECK(std::string(rtfq_score_meaning(m.model)) == "accuracy on the target's labels, percent");
  REQUIRE(rtfq_subnet_count(m.model) == 16);
  rtfq_subnet_info info;
  REQUIRE(rtfq_subnet(m.model, 0, &info) == RTFQ_OK);
  CHECK(std::string(info.id) == "w1-d1-r32-b8");
  CHECK(info.score == 50);
  CHECK(std::isnan(info.latency_ms));
  CHECK(rtfq_subnet(m.model, 16, &info) == RTFQ_INVALID_ARGUMENT);
  CHECK_THAT(rtfq_error(), Contains("16 subnets"));
}

TEST_CASE("librtfq: selects the best subnet within limits") {
  const ModelHandle m;
  int best = -1;
  REQUIRE(rtfq_select(m.model, nullptr, nullptr, &best) == RTFQ_OK);
  CHECK(best == 15);  // scores rise with the number
  rtfq_subnet_info first, info;
  REQUIRE(rtfq_subnet(m.model, 0, &first) == RTFQ_OK);
  for (const double share : {1.0, 0.5, 0.2, 0.05}) {
    const rtfq_limits limits{0, share * static_cast<double>(first.bitops), 0, 0, 0};
    int expected = -1;
    for (int i = 0; i < 16; ++i) {
      REQUIRE(rtfq_subnet(m.model, i, &info) == RTFQ_OK);
      if (static_cast<double>(info.bitops) <= limits.bitops) expected = i;
    }
    if (expected < 0) {
      CHECK(rtfq_select(m.model, &limits, nullptr, &best) == RTFQ_NOTHING_FITS);
    } else {
      REQUIRE(rtfq_select(m.model, &limits, "target-labels", &best) == RTFQ_OK);
      CHECK(best == expected);
    }
  }
  const rtfq_limits nothing{1, 0, 0, 0, 0}, negative{-1, 0, 0, 0, 0}, fast{0, 0, 0, 0, 1e9};
  CHECK(rtfq_select(m.model, &nothing, nullptr, &best) == RTFQ_NOTHING_FITS);
  CHECK(rtfq_select(m.model, &negative, nullptr, &best) == RTFQ_INVALID_ARGUMENT);
  CHECK(rtfq_select(m.model, nullptr, "taste", &best) == RTFQ_INVALID_ARGUMENT);
  CHECK_THAT(rtfq_error(), Contains("target-labels"));
  CHECK(rtfq_select(m.model, &fast, nullptr, &best) == RTFQ_FAILED);
  CHECK_THAT(rtfq_error(), Contains("measured"));
  const ContextHandle c(m.model, {3, 7});
  double ms = 0;
  REQUIRE(rtfq_measure(c.context, 3, 3, &ms) == RTFQ_OK);
  CHECK(ms > 0);
  REQUIRE(rtfq_select(m.model, &fast, nullptr, &best) == RTFQ_OK);
  CHECK(best == 3);
  REQUIRE(rtfq_subnet(m.model, 3, &info) == RTFQ_OK);
  CHECK(info.latency_ms == ms);
}

TEST_CASE("librtfq: batches, padded ones too, and switching give each image its own answer") {
  const ModelHandle m;
  const ContextHandle one(m.model, {0, 15}), four(m.model, {0, 15}, 4);
  for (const int subnet : {0, 15, 0}) {
    REQUIRE(rtfq_switch(one.context, subnet) == RTFQ_OK);
    REQUIRE(rtfq_switch(four.context, subnet) == RTFQ_OK);
    CHECK(rtfq_current(four.context) == subnet);
    const int r = subnet == 0 ? 32 : 24;
    const Tensor images = normal({6, r, r, 3}, 11);
    std::vector<float> singly(30), batched(30);
    for (int i = 0; i < 6; ++i)
      REQUIRE(rtfq_run(one.context, images.as<float>() + i * r * r * 3, 1, singly.data() + i * 5) == RTFQ_OK);
    REQUIRE(rtfq_run(four.context, images.as<float>(), 6, batched.data()) == RTFQ_OK);
    CHECK(singly == batched);
  }
  CHECK(rtfq_switch(one.context, 3) == RTFQ_INVALID_ARGUMENT);
  CHECK_THAT(rtfq_error(), Contains("was not made for subnet number 3"));
  CHECK(rtfq_weight_bytes(one.context) > 0);
  CHECK(rtfq_context_bytes(four.context) > rtfq_context_bytes(one.context));
}

TEST_CASE("librtfq: images that threads share out have the answers that they have alone") {
  const ModelHandle m;
  constexpr int count = 7;
  const Tensor images = normal({count, 32, 32, 3}, 12);
  std::vector<float> alone(5 * count);
  ContextHandle one(m.model, {0});
  REQUIRE(rtfq_run(one.context, images.as<float>(), count, alone.data()) == RTFQ_OK);
  // Equal shares of one image or two, shares with something left over, and fewer images than threads.
  for (const auto& [batch, threads] : {std::pair{2, 2}, {4, 2}, {5, 2}, {7, 3}, {2, 3}, {12, 3}}) {
    INFO(batch << " images, " << threads << " threads");
    ContextHandle c(m.model, {0}, batch, threads);
    for (int n = 1; n <= count; ++n) {
      std::vector<float> logits(static_cast<std::size_t>(5 * n), -1.0f);
      REQUIRE(rtfq_run(c.context, images.as<float>(), n, logits.data()) == RTFQ_OK);
      CHECK(std::memcmp(logits.data(), alone.data(), logits.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("librtfq: an image is prepared as evaluation prepares it, whatever its layout") {
  const ModelHandle m;
  const ContextHandle c(m.model, {15});  // below the largest resolution: resized twice
  const data::Image image = noise_image(50, 71, 3, 3);
  const rtfq_image rgb{image.pixels.data(), 71, 50, 0, RTFQ_RGB8};
  const auto expected = run_image(c.context, rgb);

  // By hand: crop, normalize, resize, run.
  data::Augmentation how;
  how.resize = 40;
  const data::Image crop = data::prepare(image, how, 32);
  const std::vector<float> mean{0.5f, 0.4f, 0.3f}, deviation{0.25f, 0.5f, 0.5f};
  const Tensor sized =
      ops::resize({}, ops::normalize({}, crop.pixels, {1, 32, 32, 3}, mean, deviation), 24, 24);
  std::vector<float> logits(5);
  REQUIRE(rtfq_run(c.context, sized.as<float>(), 1, logits.data()) == RTFQ_OK);
  CHECK(logits == expected);

  const int stride = 71 * 4 + 12;
  std::vector<uint8_t> bgra(static_cast<std::size_t>(stride) * 50, 7), bgr(image.pixels.size());
  for (int y = 0; y < 50; ++y)
    for (int x = 0; x < 71; ++x)
      for (int ch = 0; ch < 3; ++ch) {
        const uint8_t value = image.pixels[image.offset(y, x) + static_cast<std::size_t>(ch)];
        bgra[static_cast<std::size_t>((49 - y) * stride + x * 4 + 2 - ch)] = value;  // bottom-up
        bgra[static_cast<std::size_t>((49 - y) * stride + x * 4 + 3)] = 255;
        bgr[image.offset(y, x) + static_cast<std::size_t>(2 - ch)] = value;
      }
  CHECK(run_image(c.context, {bgr.data(), 71, 50, 0, RTFQ_BGR8}) == expected);
  CHECK(run_image(c.context, {bgra.data() + 49 * stride, 71, 50, -stride, RTFQ_BGRA8}) == expected);

  const data::Image grey = noise_image(33, 40, 1, 4);
  data::Image replicated{33, 40, 3, {}};
  for (const uint8_t value : grey.pixels) replicated.pixels.insert(replicated.pixels.end(), 3, value);
  CHECK(run_image(c.context, {grey.pixels.data(), 40, 33, 0, RTFQ_GRAY8}) ==
        run_image(c.context, {replicated.pixels.data(), 40, 33, 0, RTFQ_RGB8}));

  float answer[5];
  rtfq_image bad[] = {{nullptr, 4, 4, 0, RTFQ_RGB8},
                      {bgr.data(), 0, 4, 0, RTFQ_RGB8},
                      {bgr.data(), 1 << 30, 1 << 30, 0, RTFQ_RGB8},
                      {bgr.data(), 71, 50, 70, RTFQ_RGB8},
                      {bgr.data(), 71, 50, 0, RTFQ_RGB8}};
  const int no_format = 9;
  std::memcpy(&bad[4].format, &no_format, sizeof no_format);
  for (const rtfq_image& wrong : bad)
    CHECK(rtfq_run_image(c.context, &wrong, answer) == RTFQ_INVALID_ARGUMENT);
}

TEST_CASE("librtfq: colours become grey, and transparent pixels black, as in the decoders") {
  const data::Image rgba = noise_image(5, 7, 4, 6);
  const auto bytes = data::encode_png(rgba);
  for (const int channels : {1, 3}) {
    const data::Image decoded = data::decode_image(bytes.data(), bytes.size(), channels, "png");
    CHECK(deploy::image_of({rgba.pixels.data(), 7, 5, 0, RTFQ_RGBA8}, channels).pixels == decoded.pixels);
  }
}

TEST_CASE("librtfq: contexts of one model on threads of their own agree") {
  auto m = std::make_unique<ModelHandle>();
  const Tensor images = normal({4, 32, 32, 3}, 21);
  std::vector<std::vector<float>> answers(3, std::vector<float>(20));
  std::vector<std::unique_ptr<ContextHandle>> contexts;
  for (int i = 0; i < 3; ++i)
    contexts.push_back(std::make_unique<ContextHandle>(m->model, std::vector<int>{0}, 1, 1 + i % 2));
  m.reset();  // contexts keep what they need
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round)
        if (rtfq_run(contexts[i]->context, images.as<float>(), 4, answers[i].data()) != RTFQ_OK)
          answers[i].clear();
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(answers[0].size() == 20);
  CHECK(answers[0] == answers[1]);
  CHECK(answers[0] == answers[2]);
}

TEST_CASE("librtfq: errors say what came") {
  rtfq_model* model = nullptr;
  CHECK(rtfq_load_file("/nowhere/model.rtfq", &model) == RTFQ_BAD_FILE);
  CHECK_THAT(rtfq_error(), Contains("/nowhere/model.rtfq"));
  CHECK(rtfq_load_file(nullptr, &model) == RTFQ_INVALID_ARGUMENT);
  CHECK(rtfq_load_buffer("text", 4, &model) == RTFQ_BAD_FILE);
  CHECK(rtfq_load_buffer(nullptr, 0, &model) == RTFQ_BAD_FILE);
  CHECK(model == nullptr);
  CHECK(rtfq_new_context(nullptr, nullptr, nullptr) == RTFQ_INVALID_ARGUMENT);
  CHECK(rtfq_run(nullptr, nullptr, 1, nullptr) == RTFQ_INVALID_ARGUMENT);
  rtfq_free_model(nullptr);
  rtfq_free_context(nullptr);
  const auto path = std::filesystem::temp_directory_path() / ("rtfq-model-" + std::to_string(::getpid()));
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bank_file().data()), 1000);
  CHECK(rtfq_load_file(path.c_str(), &model) == RTFQ_BAD_FILE);
  CHECK_THAT(rtfq_error(), Contains(path.string()) && Contains("cut off"));
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bank_file().data()),
             static_cast<std::streamsize>(bank_file().size()));
  REQUIRE(rtfq_load_file(path.c_str(), &model) == RTFQ_OK);
  const rtfq_context_options wrong{-1, 0, nullptr, 0}, huge{0, 70000, nullptr, 0};
  rtfq_context* context = nullptr;
  CHECK(rtfq_new_context(model, &wrong, &context) == RTFQ_INVALID_ARGUMENT);
  CHECK(rtfq_new_context(model, &huge, &context) == RTFQ_INVALID_ARGUMENT);
  rtfq_free_model(model);
  std::filesystem::remove(path);
}
