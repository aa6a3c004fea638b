// Cubins with a launch description: what is refused, and a launch through a driver of our own.
#include <fstream>

#include "kernels/catalog/catalog.h"
#include "kernels/fakequant.h"
#include "kernels/plugin/host.h"
#include "tests/bench/run.h"
#include "tests/support/skip.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

#ifndef RTFQ_CUBIN
TEST_CASE("cubin: loaded, checked and launched") {
  skip("there is no nvcc to make a cubin");
}
#else

namespace {

/// A folder with the example's cubin, in which its description stands, or a changed one.
class Cubin {
 public:
  Cubin() {
    fs::create_directories(folder_);
    fs::copy(RTFQ_CUBIN, folder_ / "fakequant.cubin");
    description_ = contents(RTFQ_SOURCE_DIR "/docs/plugins/cubin/launch.json");
  }
  std::string file(const std::string& name, const std::string& from = "", const std::string& to = "") const {
    std::string text = description_;
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  const Lab lab;

 private:
  const fs::path folder_ = fs::path(lab.at("cubin"));
  std::string description_;
};

const rtfq_operator& load(const std::string& file) {
  return *kernels::plugin::load(file).offers.at(0).op;
}

/// A driver that runs the example on the host, or of another name.
void use_driver(const std::string& file = plugin("driver")) {
  ::setenv("RTFQ_CUDA_DRIVER", file.c_str(), 1);
}
void* const stream = reinterpret_cast<void*>(0x5eed);  // the one that this driver takes

/// Operands of fake-quant on the host.
struct Operands {
  explicit Operands(int64_t count, float its_step)
      : x(static_cast<std::size_t>(count)), y(x), step(its_step) {
    codes.resize(x.size());
    kernels::catalog::fill_normal(x.data(), x.size(), 7);
    args = {x.data(), &step, y.data(), codes.data(), nullptr};
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  std::vector<float> x, y;
  std::vector<uint8_t> codes;
  float step;
  rtfq_fakequant_forward_args args;
};

}  // namespace

// First: a driver that has been loaded stays.
TEST_CASE("cubin: a driver that is not there, and one for another GPU, are said") {
  const Cubin cubin;
  const rtfq_operator& op = load(cubin.file("unloaded.json"));
  const auto shape = kernels::make_fakequant_shape(10, kernels::quant_bounds(4, true));
  void* state = nullptr;
  use_driver("/no/such/libcuda.so");
  CHECK(op.create(&op, &shape, &state) == 1);
  CHECK_THAT(op.error(&op), Contains("/no/such/libcuda.so was not found"));
  use_driver();
  ::setenv("RTFQ_TEST_OTHER_GPU", "1", 1);
  CHECK(op.create(&op, &shape, &state) == 1);
  ::unsetenv("RTFQ_TEST_OTHER_GPU");
  CHECK_THAT(op.error(&op), Contains("loading the cubin: no kernel image is available") && Contains("(209)"));
  CHECK(op.create(&op, &shape, &state) == 0);
}

TEST_CASE("cubin: it is loaded and checked") {
  const Cubin cubin;
  const std::string file = cubin.file("launch.json");
  const Outcome listed = cubin.lab.run({"list", file});
  INFO(listed.err);
  CHECK(listed.status == 0);
  CHECK_THAT(listed.out, Contains("plugin:cubin-example of " + file + ": fakequant.forward on cuda"));
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& reason) {
    const Outcome outcome = cubin.lab.run({"list", cubin.file("changed.json", from, to)});
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains(reason));
  };
  refused("fakequant_values", "fakequant_codes", "has no kernel fakequant_codes, it has fakequant_values");
  refused("\"block\": 256", "\"block\": 4096", "expects 1 to 1024 threads, got 4096");
  refused("\"qn\"", "\"zero\"", "unknown argument \"zero\"");
  refused("\"qn\", ", "", "'arguments' names 6, fakequant_values takes 7 parameters");
  refused("\"y\", \"codes\", \"count\", \"qn\"", "\"y\", \"codes\", \"count\", \"x\"",
          "argument 5, 'x', is a pointer of 8 bytes, the kernel's parameter has 4");
  refused("\"reciprocal\"", "\"half\"", "'scaling' expects one of reciprocal, division, exact, got 'half'");
  refused("fakequant.forward", "fakequant.abs_sum",
          "launch descriptions are for fakequant.forward, relu.forward");
  refused("fakequant.cubin", "launch.json", "expected a cubin, which is an ELF file");
  refused("\"kernel\": \"fakequant_values\",", "", "kernel");
}

TEST_CASE("cubin: a launch passes what the description names") {
  const Cubin cubin;
  use_driver();
  const rtfq_operator& op = load(cubin.file("launch.json"));
  const int64_t count = 4097;
  for (const bool is_signed : {false, true}) {
    const auto shape = kernels::make_fakequant_shape(count, kernels::quant_bounds(4, is_signed));
    Operands ours(count, 0.25f), its(count, 0.25f);
    kernels::FakeQuantForward::cpu().back().launch(
        shape, {ours.x.data(), &ours.step, ours.y.data(), ours.codes.data()}, {});
    REQUIRE(op.unsupported(&op, &shape) == nullptr);
    void* state = nullptr;
    REQUIRE(op.create(&op, &shape, &state) == 0);
    INFO(op.error(&op));
    REQUIRE(op.launch(&op, state, &shape, &its.args, stream) == 0);
    CHECK(its.y == ours.y);
    CHECK(its.codes == ours.codes);
    std::fill(its.codes.begin(), its.codes.end(), uint8_t{77});
    its.args.codes = nullptr;
    REQUIRE(op.launch(&op, state, &shape, &its.args, stream) == 0);
    CHECK(std::count(its.codes.begin(), its.codes.end(), 77) == count);
  }
}

TEST_CASE("cubin: what a description lacks is said of a shape, or of a launch") {
  const Cubin cubin;
  use_driver();
  const rtfq_operator& op = load(cubin.file("launch.json"));
  const auto bounds = kernels::quant_bounds(4, true);
  const auto refusal = [&](const rtfq_operator& its, const kernels::FakeQuantShape& shape) {
    const char* said = its.unsupported(&its, &shape);
    return std::string(said ? said : "taken");
  };
  CHECK_THAT(refusal(op, kernels::make_fakequant_weight_shape(8, 9, 16, 32, bounds, false)),
             Contains("_stride'"));
  CHECK_THAT(refusal(op, kernels::make_fakequant_weight_shape(8, 1, 16, 16, bounds, true)),
             Contains("'per_row'"));
  auto other = kernels::make_fakequant_shape(100, bounds);
  other.type = RTFQ_BF16;
  CHECK_THAT(refusal(op, other), Contains("another type"));
  const rtfq_operator& narrow =
      load(cubin.file("narrow.json", "\"codes\", \"count\", \"qn\"", "\"null\", \"count\", \"count\""));
  CHECK(refusal(narrow, kernels::make_fakequant_shape(int64_t{1} << 31, bounds)) ==
        "its 'count' is of 32 bits, and this shape's is longer");
  const auto shape = kernels::make_fakequant_shape(100, bounds);
  const Operands operands(100, 1);
  void* state = nullptr;
  REQUIRE(narrow.create(&narrow, &shape, &state) == 0);
  CHECK(narrow.launch(&narrow, state, &shape, &operands.args, stream) == 1);
  CHECK_THAT(narrow.error(&narrow), Contains("'codes' is given, and the kernel's arguments do not name it"));
}

TEST_CASE("cubin: shared memory beyond 48 KiB is asked for") {
  const Cubin cubin;
  use_driver();
  const rtfq_operator& op =
      load(cubin.file("shared.json", "\"shared_bytes\": 0", "\"shared_bytes\": 100000"));
  const auto shape = kernels::make_fakequant_shape(10, kernels::quant_bounds(4, true));
  Operands operands(10, 1);
  void* state = nullptr;
  REQUIRE(op.create(&op, &shape, &state) == 0);
  INFO(op.error(&op));
  CHECK(op.launch(&op, state, &shape, &operands.args, stream) == 0);
  CHECK(operands.codes != std::vector<uint8_t>(10));
}

#endif
