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
  return print_json(Json{{"step", report.step},
                         {"phase", report.phase},
                         {"loss", report.loss},
                         {"terms", terms},
                         {"source_accuracy", report.source_accuracy},
                         {"gradient_norm", report.gradient_norm},
                         {"learning_rate", report.learning_rate},
                         {"seconds", report.seconds},
                         {"wait_seconds", report.wait_seconds},
                         {"images", report.images}});
}

StepLog::StepLog(const std::string& path, int64_t step) : path_(path) {
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

void StepLog::append(const StepReport& report) {
  const std::string line = log_line(report) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()))
    fail(path_);
}

void StepLog::sync() {
  if (std::fflush(file_.get()) || fsync(fileno(file_.get()))) fail(path_);
}

}  // namespace rtfq
