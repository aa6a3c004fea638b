#include "training/step_log.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/json.h"
#include "engine/safetensors.h"

namespace rtfq {
namespace {

[[noreturn]] void fail(const std::string& path) {
  throw std::runtime_error("[log] cannot write " + path + ": " + std::strerror(errno));
}

/// The step of a complete entry; -1 for anything else.
int64_t step_of(const std::string& line) {
  const Json entry = parse_json(line);
  if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer()) return -1;
  return entry["step"].get<int64_t>();
}

}  // namespace

std::string log_line(const StepReport& report) {
  Json terms = Json::object();
  for (const auto& [name, value] : report.terms) terms[name] = value;
  Json roles = Json::object();
  for (const auto& [role, values] : report.roles)
    for (const auto& [name, value] : values) roles[role][name] = value;
  Json line{{"step", report.step},
            {"phase", report.phase},
            {"loss", report.loss},
            {"terms", terms},
            {"roles", roles},
            {"source_accuracy", report.source_accuracy},
            {"gradient_norm", report.gradient_norm},
            {"learning_rate", report.learning_rate},
            {"seconds", report.seconds},
            {"wait_seconds", report.wait_seconds},
            {"images", report.images}};
  if (report.exchanged_bytes > 0) {
    line["exchanged_bytes"] = report.exchanged_bytes;
    line["exchange_seconds"] = report.exchange_seconds;
    line["overlapped_seconds"] = report.overlapped_seconds;
  }
  return print_json(line);
}

std::string quantizer_line(int64_t step, const std::string& phase, const Supernet& network) {
  Json weights = Json::object(), activations = Json::object();
  for (const Quantizer* quantizer : network.quantizers())
    for (const auto& [bits, parameter] : quantizer->steps()) {
      if (!quantizer->initialized(bits)) continue;
      double sum = 0;
      const std::vector<float> values = parameter->value.to_vector();
      for (const float value : values) sum += value;
      (quantizer->options().weight ? weights : activations)[quantizer->name()][std::to_string(bits)] =
          sum / static_cast<double>(values.size());
    }
  return print_json(
      Json{{"step", step}, {"phase", phase}, {"weights", weights}, {"activations", activations}});
}

bool logs_quantizers(const TrainConfig& train, int64_t step) {
  if (train.method == "source_only" || step <= train.float_steps || train.log_steps_every <= 0) return false;
  const int64_t adapts_after = train.float_steps + train.source_steps;
  return step % train.log_steps_every == 0 || step == train.float_steps + 1 || step == adapts_after ||
         step == adapts_after + 1 || step == train.steps;
}

StepLines::StepLines(const std::string& path, int64_t step) : path_(path) {
  std::string kept;
  bool dropped = false;
  {
    std::ifstream file(path, std::ios::binary);
    for (std::string line; std::getline(file, line);) {
      const int64_t entry = file.eof() ? -1 : step_of(line);  // at the end of file: its newline is missing
      if (entry > last_step_ && entry <= step) {
        kept += line + "\n";
        last_step_ = entry;
      } else {
        dropped = true;
      }
    }
  }
  if (dropped) write_file_atomically(path, kept);
  file_.reset(std::fopen(path.c_str(), "a"));
  if (!file_) fail(path);
}

void StepLines::append(const std::string& line) {
  const std::string ended = line + "\n";
  if (std::fwrite(ended.data(), 1, ended.size(), file_.get()) != ended.size() || std::fflush(file_.get()))
    fail(path_);
}

void StepLines::sync() {
  if (std::fflush(file_.get()) || fsync(fileno(file_.get()))) fail(path_);
}

}  // namespace rtfq
