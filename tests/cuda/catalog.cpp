// The catalog's small cases for every implementation in kernels/cuda on a GPU, where there is one; and on the
// executor with the problems in its device memory, which is how they run on a GPU.
#include "kernels/catalog/catalog.h"

#include <catch2/catch.hpp>

#include "kernels/catalog/custom.h"
#include "kernels/simt/executor.h"
#include "tests/support/skip.h"

using namespace rtfq;
using namespace rtfq::kernels;

namespace {

/// Why this machine cannot run kernels on a GPU; empty: it can.
std::string missing_gpu() {
  if (!built_with_cuda) return "this build has no CUDA backend (RTFQ_CUDA=ON)";
  try {
    runtime::release({Backend::cuda, 0}, runtime::allocate({Backend::cuda, 0}, 1));
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> on(Backend backend, const catalog::Instance& instance) {
  try {
    return instance.implementations(backend);
  } catch (const std::runtime_error&) {
    return {};
  }
}

void check_cases(const std::string& prefix, Backend backend, double most_bytes) {
  std::size_t ran = 0;
  for (const auto& entry : catalog::entries()) {
    if (entry.large || entry.op.rfind(prefix, 0) != 0) continue;
    const auto instance = entry.make();
    if (instance->cost().bytes > most_bytes) continue;
    for (const auto& name : on(backend, *instance)) {
      if (!instance->unsupported(backend, name).empty()) continue;
      const auto verdict = instance->verify(backend, name);
      INFO(entry.op << " " << entry.case_name << " by " << name << ": " << verdict.message);
      INFO("repeat: rtfq-cases --device " << to_string(backend) << " --op " << entry.op << " --impl " << name
                                          << " --case " << entry.case_name);
      CHECK(verdict.ok);
      ++ran;
    }
  }
  INFO("operators starting with " << prefix);
  REQUIRE(ran > 0);
}

void check_on_gpu(const std::string& prefix) {
  if (const std::string reason = missing_gpu(); !reason.empty()) return test::skip(reason);
  check_cases(prefix, Backend::cuda, 1e9);
}

}  // namespace

TEST_CASE("catalog on cuda: conv2d") {
  check_on_gpu("conv2d.");
}
TEST_CASE("catalog on cuda: convstatistics") {
  check_on_gpu("convstatistics.");
}
TEST_CASE("catalog on cuda: convquant") {
  check_on_gpu("convquant.");
}
TEST_CASE("catalog on cuda: linear") {
  check_on_gpu("linear.");
}
TEST_CASE("catalog on cuda: fakequant") {
  check_on_gpu("fakequant.");
}
TEST_CASE("catalog on cuda: batchnorm") {
  check_on_gpu("batchnorm.");
}
TEST_CASE("catalog on cuda: normquant") {
  check_on_gpu("normquant.");
}
TEST_CASE("catalog on cuda: elementwise") {
  check_on_gpu("relu.");
  check_on_gpu("add");
}
TEST_CASE("catalog on cuda: pool") {
  check_on_gpu("maxpool.");
  check_on_gpu("avgpool.");
}
TEST_CASE("catalog on cuda: int4") {
  check_on_gpu("int4.");
}
TEST_CASE("catalog on cuda: loss") {
  check_on_gpu("softmax");
  check_on_gpu("loss.");
}
TEST_CASE("catalog on cuda: optimizer") {
  check_on_gpu("optimizer.");
}

TEST_CASE("catalog on cuda: convolutions and quantizers of a ResNet-50") {
  if (const std::string reason = missing_gpu(); !reason.empty()) return test::skip(reason);
  using Dims = std::map<std::string, int64_t>;
  const std::vector<Dims> layers{
      {{"n", 8}, {"h", 56}, {"w", 56}, {"c", 64}, {"k", 64}, {"filter", 3}},
      {{"n", 8}, {"h", 40}, {"w", 40}, {"c", 112}, {"k", 112}, {"filter", 3}, {"stride", 2}, {"of", 128}},
      {{"n", 8}, {"h", 28}, {"w", 28}, {"c", 432}, {"k", 864}, {"filter", 1}, {"of", 512}}};
  std::vector<catalog::CustomRequest> requests;
  for (const char* op : {"conv2d.forward", "conv2d.dgrad", "conv2d.wgrad"})
    for (const Dims& dims : layers)
      for (const auto type : {RTFQ_F32, RTFQ_BF16}) requests.push_back({op, dims, type});
  for (const char* op : {"fakequant.forward", "fakequant.backward"})
    requests.push_back({op, {{"count", 8 * 56 * 56 * 64 + 3}}});
  for (const auto& request : requests) {
    const auto instance = catalog::custom(request);
    std::size_t ran = 0;
    for (const auto& name : instance->implementations(Backend::cuda)) {
      if (!instance->unsupported(Backend::cuda, name).empty()) continue;
      const auto verdict = instance->verify(Backend::cuda, name);
      INFO(request.op << " by " << name << ": " << verdict.message);
      CHECK(verdict.ok);
      ++ran;
    }
    CHECK(ran > 0);
  }
}

TEST_CASE("catalog in device memory of simt") {
  const simt::ScopedOptions scope;
  catalog::mirror_simt(true);
  for (const char* prefix :
       {"conv2d.", "convstatistics.", "convquant.", "linear.", "fakequant.", "batchnorm.", "normquant.",
        "relu.", "add", "maxpool.", "avgpool.", "softmax", "loss.", "optimizer."})
    check_cases(prefix, Backend::simt, 1e5);
  // What a kernel does wrong shows there as well: a guard zone that is written, an operand that is
  // overwritten.
  catalog::mirror_simt(false);
}

TEST_CASE("arguments are translated to a device's addresses") {
  catalog::Buffer known(64);
  catalog::Mirror mirror({Backend::simt, 0});
  mirror.add(known, catalog::Mirror::Kind::operand);
  std::vector<float> unknown(16);
  const float* entries[2] = {known.as<float>() + 3, nullptr};
  struct {
    const float* inside;
    const void* table;
    float numbers[2];
    const float* none;
  } arguments{known.as<float>() + 16, entries, {1.0f, -2.5f}, nullptr};
  auto translated = arguments;
  mirror.translate(&translated, sizeof translated, {std::as_bytes(std::span(entries))}, nullptr);
  CHECK(translated.inside == mirror.at(known.as<float>() + 16));
  CHECK(translated.none == nullptr);
  CHECK(translated.numbers[1] == -2.5f);
  const auto* table = static_cast<const float* const*>(translated.table);
  CHECK(table != entries);
  CHECK(table[0] == mirror.at(known.as<float>() + 3));
  CHECK(table[1] == nullptr);
  CHECK_THROWS_AS(mirror.at(unknown.data()), std::logic_error);
}
