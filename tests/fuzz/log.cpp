// Logs of a run that is resumed, and what the report reads of them.
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"
#include "training/evaluation.h"
#include "training/report/run_data.h"
#include "training/step_log.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 1024);
  const std::string text = fuzz::text_of(data, size);
  fuzz::folder().write("log.jsonl", text);
  const std::string path = fuzz::folder().path("log.jsonl");
  {
    StepLines lines(path, 100);
    fuzz::require(lines.last_step() >= 0 && lines.last_step() <= 100, "a step beyond the checkpoint's");
  }
  const std::string kept = fuzz::folder().read("log.jsonl");
  int64_t last = 0;
  std::istringstream in(kept);
  for (std::string line; std::getline(in, line);) {
    const int64_t step = nlohmann::json::parse(line).at("step").get<int64_t>();
    fuzz::require(step > last && step <= 100, "steps that do not rise");
    last = step;
  }
  fuzz::require(kept.empty() || kept.back() == '\n', "a last line that is cut off");

  fuzz::folder().write("config.jsonc", "{}");
  for (const char* name : {"log.jsonl", "quantizers.jsonl", "sessions.jsonl", "subnets.json"})
    fuzz::folder().write(name, text);
  fuzz::accepts([&] { report::read_run(fuzz::folder().path(""), "rtfq"); });
  fuzz::accepts([&] { read_scores(fuzz::folder().path("subnets.json")); });
  return 0;
}
