#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <stdexcept>

namespace rtfq::cli {
namespace {

using Clock = std::chrono::steady_clock;

template <class... T>
std::string format(const char* pattern, T... values) {
  char buffer[128];
  std::snprintf(buffer, sizeof buffer, pattern, values...);
  return buffer;
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string bar(double fraction, int cells) {
  const int full = static_cast<int>(fraction * cells);
  return "[" + std::string(static_cast<std::size_t>(full), '=') +
         std::string(static_cast<std::size_t>(cells - full), ' ') + "]";
}

/// Replaces the current line of the terminal, cut to its width so that it does not wrap.
void draw(std::string line) {
  line.resize(std::min(line.size(), terminal_columns() - 1));
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
}

const char* meaning(const std::string& phase) {
  if (phase == "float") return "the largest network in full precision, source only";
  if (phase == "source") return "quantized subnets, source only";
  return "quantized subnets, source and target";
}

}  // namespace

bool stderr_is_terminal() {
  return isatty(STDERR_FILENO);
}

std::string duration(double seconds) {
  const long s = std::lround(seconds);
  if (s >= 3600) return format("%ldh%02ldm", s / 3600, s / 60 % 60);
  return s >= 60 ? format("%ldm%02lds", s / 60, s % 60) : format("%lds", s);
}

double parse_duration(const std::string& text) {
  double seconds = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  std::string units = "hms";  // each once, in this order
  bool good = at < end;
  while (good && at < end) {
    double number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    const std::size_t unit = rest < end ? units.find(*rest) : units.npos;
    good = error == std::errc() && unit != units.npos && std::isfinite(number) && number >= 0;
    if (!good) break;
    seconds += number * (units[unit] == 'h' ? 3600 : units[unit] == 'm' ? 60 : 1);
    units.erase(0, unit + 1);
    at = rest + 1;
  }
  if (!good)
    throw std::invalid_argument("[time] expected a time such as 2h, 90m, 1h30m or 45s, got '" + text + "'");
  return seconds;
}

TrainingProgress::TrainingProgress(const Config& config, int64_t every)
    : train_(config.train),
      every_(every > 0 ? every : std::max<int64_t>(1, config.train.steps / 40)),
      terminal_(stderr_is_terminal()) {}

double TrainingProgress::remaining_seconds(int64_t step) const {
  // What a step costs in passes over a source batch; the phase that runs tells how long such a pass takes.
  // Adapting doubles the images and adds a forward pass (a third of a training pass) of the teacher.
  const double n = static_cast<double>(train_.passes);
  const auto cost = [&](const std::string& phase) {
    return phase == "float" ? 1 : phase == "source" ? n : 2 * n + 1;
  };
  const int64_t end_float = train_.method == "source_only" ? train_.steps : train_.float_steps;
  const int64_t end_source = std::max(end_float, train_.float_steps + train_.source_steps);
  const auto left = [&](int64_t begin, int64_t end) {
    return static_cast<double>(std::max<int64_t>(0, end - std::max(begin, step)));
  };
  const double passes = left(0, end_float) * cost("float") + left(end_float, end_source) * cost("source") +
                        left(end_source, train_.steps) * cost("adapt");
  return passes * seconds_ / weight_ / cost(phase_);
}

std::string TrainingProgress::figures(const StepReport& report, double rate) const {
  std::string out = "loss " + format("%.3f", loss_ / weight_);
  if (report.terms.size() > 1) {
    std::string terms;
    for (const auto& [name, value] : report.terms)
      terms += (terms.empty() ? "" : ", ") + name + format(" %.3f", value);
    out += " (" + terms + ")";
  }
  return out + format(", source accuracy %.1f%%, %.0f images/s", accuracy_ / weight_, rate);
}

void TrainingProgress::show(const StepReport& report) {
  if (report.phase != phase_) {
    leave();
    phase_ = report.phase;
    loss_ = accuracy_ = seconds_ = images_ = weight_ = 0;
    in_phase_ = 0;
    std::fprintf(stderr, "from step %lld of %lld: %s\n", static_cast<long long>(report.step),
                 static_cast<long long>(train_.steps), meaning(phase_));
  }
  // The first steps of a phase prepare kernels and memory; their time says nothing about the rest.
  const double keep = ++in_phase_ <= 3 ? 0.0 : 0.95;
  const auto average = [&](double& sum, double value) { sum = keep * sum + value; };
  average(loss_, report.loss);
  average(accuracy_, report.source_accuracy);
  average(seconds_, report.seconds);
  average(images_, static_cast<double>(report.images));
  average(weight_, 1);

  const bool last = report.step == train_.steps;
  const double rate = images_ / std::max(seconds_, 1e-9);
  const std::string where = std::to_string(report.step) + "/" + std::to_string(train_.steps);
  const std::string eta = "ETA " + duration(remaining_seconds(report.step));
  if (terminal_) {
    const auto now = Clock::now();
    if (!last && now - last_drawn_ < std::chrono::milliseconds(100)) return;
    last_drawn_ = now;
    draw(bar(static_cast<double>(report.step) / static_cast<double>(train_.steps), 20) + " " + where + " " +
         phase_ + "  " + eta + "  " + figures(report, rate));
    drawn_ = true;
    if (last) leave();
  } else if (report.step % every_ == 0 || last) {
    std::fprintf(stderr, "step %s %s: %s, %s\n", where.c_str(), phase_.c_str(), figures(report, rate).c_str(),
                 eta.c_str());
  }
}

void TrainingProgress::leave() {
  if (std::exchange(drawn_, false)) std::fputc('\n', stderr);
}

CountProgress::CountProgress(std::string what)
    : what_(std::move(what)), terminal_(stderr_is_terminal()), start_(Clock::now()) {}

void CountProgress::operator()(int64_t done, int64_t total) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left = seconds / static_cast<double>(done) * static_cast<double>(total - done);
  const std::string text =
      what_ + " " + std::to_string(done) + "/" + std::to_string(total) + ", ETA " + duration(left);
  if (terminal_) {
    draw(bar(static_cast<double>(done) / static_cast<double>(total), 20) + " " + text);
    if (done == total) std::fputc('\n', stderr);
  } else if (done >= next_ || done == total) {
    std::fprintf(stderr, "%s\n", text.c_str());
    next_ = done + std::max<int64_t>(1, total / 4);
  }
}

}  // namespace rtfq::cli
