// Result files, the check for regressions, the page.
#include "tests/bench/run.h"
#include "tests/support/markup.h"
#include "tools/bench/item.h"

using namespace rtfq::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

/// A run of two kernels on two shapes, timed for an instant.
Outcome measure(const Lab& lab, const std::string& file, const std::string& implementation) {
  return lab.run({"run", "--op", "relu.forward", "--impl", implementation, "--shape", "count=20000",
                  "--shape", "count=70001", "--samples", "9", "--sample-seconds", "0.001", "--seconds",
                  "0.02", "--json", lab.at(file), "--csv", lab.at(file + ".csv")});
}

}  // namespace

TEST_CASE("results: JSON as Google Benchmark writes it, and CSV") {
  const Lab lab;
  const Outcome outcome = measure(lab, "a.json", "avx2,naive");
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("relu.forward") && Contains("in cache") && Contains("GB/s"));
  CHECK_THAT(outcome.out, Contains("roofline: the longer of ") &&
                              Contains("made up, 1 threads, measured 2026-01-01: memory: copy 10.0, triad "
                                       "10.0, Schoenauer triad 10.0, "
                                       "read alone 10.0 GB/s; f32 100 Gop/s") &&
                              Contains("in cache: "));
  CHECK_THAT(outcome.err, !Contains("measuring this machine"));
  const json all = json::parse(contents(lab.at("a.json")));
  CHECK(all["context"].contains("date"));
  CHECK(all["context"]["num_cpus"] == 1);
  const auto& entries = all["benchmarks"];
  REQUIRE(entries.size() >= 4 * 9);
  for (const json& entry : entries) {
    CHECK(entry["run_type"] == "iteration");
    CHECK(entry["time_unit"] == "ns");
    CHECK(entry["real_time"].get<double>() > 0);
    CHECK(entry["cpu_time"].get<double>() > 0);
    CHECK(entry["iterations"].get<int64_t>() > 0);
    CHECK(entry["name"].get<std::string>().rfind("relu.forward/count=", 0) == 0);
  }
  // 8 bytes an element.
  const json& row = all["rtfq"]["rows"][0];
  CHECK(row["bytes"] == 8 * 20000.0);
  CHECK(row["verdict"] == "exact");
  CHECK(all["rtfq"]["command"].get<std::string>().find("--shape") != std::string::npos);
  const std::string csv = contents(lab.at("a.json.csv"));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 5);
  CHECK_THAT(csv, Contains("bytes_per_second") && Contains("\"count=20000,f32\""));
}

TEST_CASE("results: ours is the first of ours that takes the shape") {
  const Lab lab;
  const auto rows = [&](const std::string& implementation) {
    const Outcome outcome = lab.run({"run", "--op", "convquant.forward", "--impl", implementation, "--case",
                                     "three_channels*", "--samples", "9", "--sample-seconds", "0.001",
                                     "--seconds", "0.02", "--json", lab.at(implementation)});
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return json::parse(contents(lab.at(implementation)))["rtfq"]["rows"];
  };
  const json all = rows("all"), ours = rows("ours");
  // Kernels of four channels at a time refuse three; the first of them all may be one of those.
  const auto taken =
      std::find_if(all.begin(), all.end(), [](const json& row) { return row["verdict"] != "skipped"; });
  REQUIRE(taken != all.end());
  REQUIRE(ours.size() == 1);
  CHECK(ours[0]["verdict"] == "exact");
  CHECK(ours[0]["item"]["implementation"] == (*taken)["item"]["implementation"]);
}

TEST_CASE("results: check finds what became slower, and nothing else") {
  const Lab lab;
  REQUIRE(measure(lab, "old.json", "avx2,naive").status == 0);
  json changed = json::parse(contents(lab.at("old.json")));
  const auto with_rows = [&](const std::string& file, auto change) {
    json all = changed;
    for (json& row : all["rtfq"]["rows"]) change(row);
    std::ofstream(lab.at(file)) << all.dump();
  };
  const auto check = [&](const std::string& file, const std::string& slower) {
    return lab.run({"check", lab.at("old.json"), lab.at(file), "--slower", slower});
  };
  const auto scale = [](json& row, double factor) {
    for (json& seconds : row["seconds"]) seconds = seconds.get<double>() * factor;
  };
  with_rows("same.json", [](json&) {});
  CHECK(check("same.json", "10%").status == 0);
  // Far beyond any noise of the samples.
  with_rows("slow.json", [&](json& row) {
    if (row["item"]["implementation"] == "avx2" && row["item"]["dims"]["count"] == 20000) scale(row, 100);
  });
  const Outcome slow = check("slow.json", "10%");
  CHECK(slow.status == 1);
  CHECK_THAT(slow.out, Contains("slower"));
  CHECK_THAT(slow.err, Contains("4 rows compared, 1 worse"));
  CHECK(check("slow.json", "20000%").status == 0);
  with_rows("fast.json", [&](json& row) { scale(row, 0.01); });
  CHECK(check("fast.json", "10%").status == 0);
  with_rows("wrong.json", [&](json& row) {
    if (row["item"]["implementation"] == "naive") row["verdict"] = "wrong";
  });
  const Outcome wrong = check("wrong.json", "10%");
  CHECK(wrong.status == 1);
  CHECK_THAT(wrong.out, Contains("no longer right"));
  CHECK(check("old.json", "ten").status == 2);
  CHECK(check("absent.json", "10%").status == 2);
  std::ofstream(lab.at("other.json")) << "{}";
  CHECK(check("other.json", "10%").status == 2);
}

TEST_CASE("results: the report is one page without scripts, several files side by side") {
  const Lab lab;
  REQUIRE(measure(lab, "old.json", "avx2").status == 0);
  REQUIRE(measure(lab, "new.json", "avx2").status == 0);
  REQUIRE(lab.run({"report", lab.at("old.json"), lab.at("new.json"), "-o", lab.at("page.html")}).status == 0);
  const std::string html = contents(lab.at("page.html"));
  require_well_formed(html);
  CHECK_THAT(html, Contains("Roofline") && Contains("relu.forward") && Contains("Side by side") &&
                       Contains("All rows of new"));
  CHECK_THAT(html, !Contains("<script") && !Contains("src=\"http") && !Contains(">nan"));
  REQUIRE(lab.run({"report", lab.at("old.json"), "--markdown", "-o", lab.at("table.md")}).status == 0);
  CHECK_THAT(contents(lab.at("table.md")),
             Contains("not edited") && Contains("| relu.forward | count=20000,f32 | avx2 | exact |"));
}

TEST_CASE("results: codes are measured against the peak of codes") {
  const auto arithmetic = [](const std::string& op, const std::string& catalog_case,
                             const std::string& dtype) {
    rtfq::lab::Item item;
    item.op = op;
    item.catalog_case = catalog_case;
    item.dtype = dtype;
    return item.arithmetic();
  };
  CHECK(arithmetic("convquant.forward", "", "f32") == "u8");
  CHECK(arithmetic("int4.conv2d", "", "f32") == "u8");
  CHECK(arithmetic("conv2d.forward", "", "u8") == "u8");
  CHECK(arithmetic("conv2d.forward", "resnet50_1x1_7x7_2048_512_u8_bf16", "f32") == "u8");
  CHECK(arithmetic("conv2d.dgrad", "", "bf16") == "bf16");
  CHECK(arithmetic("conv2d.wgrad", "3x3_8x8_16_16_tf32_add", "f32") == "tf32");
  CHECK(arithmetic("conv2d.wgrad", "3x3_bf16_f32", "f32") == "bf16");
  CHECK(arithmetic("normquant.forward", "64x49x2048_bf16", "f32") == "f32");
}
