#include "training/report/axis.h"

#include <algorithm>
#include <cmath>

#include "training/report/text.h"

namespace rtfq::report {
namespace {

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that needs no more than `count` steps.
double round_step(double extent, int count, bool whole) {
  const double least = extent / std::max(1, count);
  const double power = std::pow(10, std::floor(std::log10(least)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.5, 2.0, 1.0})
    if (factor * power >= least * (1 - 1e-9)) step = factor * power;
  return whole ? std::max(1.0, std::ceil(step)) : step;
}

/// A tick's label among ticks `step` apart whose greatest size is `most`.
std::string linear_label(double value, double step, double most) {
  if (value == 0) return "0";
  if (most < 1e-3) return scientific(value);
  static constexpr const char* units[] = {"", "K", "M", "G", "T", "P"};
  std::size_t unit = 0;
  double scale = 1;
  if (most >= 1e4)
    while (most / scale >= 1000 && unit + 1 < std::size(units)) scale *= 1000, ++unit;
  int digits = 0;
  double shown = step / scale;
  while (digits < 6 && std::abs(shown - std::round(shown)) > 1e-6 * shown) shown *= 10, ++digits;
  return fixed(value / scale, digits) + units[unit];
}

std::string log_label(double value) {
  if (value < 1e-3) return scientific(value);
  if (value < 1) {
    std::string text = fixed(value, 3);
    while (text.back() == '0') text.pop_back();
    return text;
  }
  std::string text = quantity(value);
  const std::size_t dot = text.find('.');
  if (dot == text.npos) return text;
  std::size_t end = text.find_first_not_of("0123456789.");
  if (end == text.npos) end = text.size();
  std::size_t keep = end;
  while (text[keep - 1] == '0') --keep;
  if (text[keep - 1] == '.') --keep;
  return text.erase(keep, end - keep);
}

std::vector<Tick> linear_ticks(double low, double high, int count, bool whole) {
  std::vector<Tick> out;
  const double step = round_step(high - low, count, whole);
  const double most = std::max(std::abs(low), std::abs(high));
  const auto first = static_cast<int64_t>(std::ceil(low / step - 1e-9)),
             last = static_cast<int64_t>(std::floor(high / step + 1e-9));
  for (int64_t n = first; n <= last; ++n) {
    const double value = static_cast<double>(n) * step;
    out.push_back({value, linear_label(value, step, most)});
  }
  return out;
}

/// The powers of ten in [low, high] times each of `factors`; of the powers every `every`-th.
std::vector<Tick> decade_ticks(double low, double high, const std::vector<double>& factors, int every) {
  std::vector<Tick> out;
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  for (int power = static_cast<int>(std::floor(std::log10(low))); power <= last; ++power)
    for (const double factor : factors) {
      const double value = factor * std::pow(10, power);
      if (power % every == 0 && value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
        out.push_back({value, log_label(value)});
    }
  return out;
}

std::vector<Tick> log_ticks(double low, double high, int count) {
  const int every = std::max(1, static_cast<int>(std::ceil(std::log10(high / low) / std::max(1, count))));
  std::vector<Tick> best = decade_ticks(low, high, {1}, every);
  if (every > 1) return best;
  for (const std::vector<double>& factors : {std::vector<double>{1, 3}, {1, 2, 5}}) {
    std::vector<Tick> more = decade_ticks(low, high, factors, 1);
    if (best.size() < 3 || static_cast<int>(more.size()) <= count + 1) best = std::move(more);
  }
  return best.size() >= 3 ? best : linear_ticks(low, high, count, false);
}

}  // namespace

std::vector<Tick> round_ticks(double low, double high, Scale scale, int count, bool whole) {
  if (!(high > low)) return {};
  return scale == Scale::log ? log_ticks(low, high, count) : linear_ticks(low, high, count, whole);
}

Axis::Axis(double low, double high, Scale scale, double from, double to)
    : low_(low), high_(high), from_(from), to_(to), scale_(scale) {
  if (high_ > low_) return;
  const double about = std::abs(low_) > 0 ? std::abs(low_) * 0.1 : 1;
  if (scale_ == Scale::log)
    low_ /= 1.2, high_ *= 1.2;
  else
    low_ -= about, high_ += about;
}

double Axis::at(double value) const {
  const double share = scale_ == Scale::log ? std::log(value / low_) / std::log(high_ / low_)
                                            : (value - low_) / (high_ - low_);
  return from_ + share * (to_ - from_);
}

}  // namespace rtfq::report
