#include "kernels/catalog/rounding.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace rtfq::kernels::catalog {

double scaled(float x, float step, rtfq_scaling scaling) {
  switch (scaling) {
    case RTFQ_RECIPROCAL:
      return static_cast<double>(static_cast<float>(
          static_cast<double>(x) * static_cast<double>(static_cast<float>(1.0 / static_cast<double>(step)))));
    case RTFQ_DIVISION:
      return static_cast<double>(x / step);
    case RTFQ_EXACT:
      return static_cast<double>(x) / static_cast<double>(step);
  }
  throw std::logic_error("[catalog] no such rule for scaling");
}

double rounded(double v, rtfq_ties ties) {
  switch (ties) {
    case RTFQ_TIES_EVEN:
      return std::nearbyint(v);
    case RTFQ_TIES_AWAY:
      return std::round(v);
    case RTFQ_TIES_UP:
      return std::floor(v + 0.5);
  }
  throw std::logic_error("[catalog] no such rule for ties");
}

Code code_of(float x, float step, double low, double high, const Contract& contract) {
  Code c{};
  c.v = scaled(x, step, contract.scaling);
  const double whole = std::isfinite(c.v) ? rounded(c.v, contract.ties) : c.v;
  c.inside = c.v > low && c.v < high;
  c.code = std::isnan(c.v) ? low : std::min(std::max(whole, low), high);
  c.t = c.inside ? whole - c.v : c.v >= high ? high : low;
  return c;
}

Nearness nearness(double v, double reach, double code, double low, double high) {
  Nearness n{false, std::abs(v - low) <= reach, std::abs(v - high) <= reach, code};
  const double below = std::floor(v);
  if (!std::isfinite(v) || std::abs(v - below - 0.5) > reach) return n;
  const auto clamp = [&](double one) { return std::min(std::max(one, low), high); };
  n.neighbour = clamp(code == clamp(below) ? below + 1 : below);
  n.tie = n.neighbour != code;
  return n;
}

}  // namespace rtfq::kernels::catalog
