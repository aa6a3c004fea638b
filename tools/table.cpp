#include "tools/table.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <stdexcept>

namespace rtfq::cli {
namespace {

template <class... T>
std::string format(const char* pattern, T... values) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, values...);
  return buffer;
}

}  // namespace

std::string quantity(double value) {
  static constexpr const char* units[] = {"", "K", "M", "G", "T", "P"};
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  if (unit == 0) return format("%.0f", value);
  return format(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value) + units[unit];
}

double parse_quantity(const std::string& text) {
  double value = 0;
  const char* const last = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), last, value);  // unlike strtod: no blanks, no 0x10
  const bool digits = error == std::errc() && std::isfinite(value) && value >= 0;
  std::string suffix;
  for (const char* c = rest; c < last; ++c)
    suffix += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  if (!suffix.empty() && suffix.back() == 'b') suffix.pop_back();
  if (!suffix.empty()) {
    const std::size_t power = std::string("kmgt").find(suffix[0]);
    const bool binary = suffix.size() == 2 && suffix[1] == 'i';
    if (power == std::string::npos || (suffix.size() > 1 && !binary))
      value = -1;
    else
      value *= std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(power + 1));
  }
  if (!digits || value < 0)
    throw std::invalid_argument("[limit] expected a quantity such as 1500, 1e6, 10M or 2.5G, got '" + text +
                                "'");
  return value;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  // A column's side is that of its first cell below the head.
  const auto to_right = [&](std::size_t column) {
    if (rows.size() < 2 || column >= rows[1].size() || rows[1][column].empty()) return false;
    const char c = rows[1][column][0];
    return std::isdigit(static_cast<unsigned char>(c)) || c == '-';
  };
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (to_right(i) ? padding + row[i] : row[i] + padding);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string score_table(const std::vector<SubnetScore>& scores) {
  struct Column {
    const char* head;
    std::function<std::string(const SubnetScore&)> cell;
  };
  const auto number = [](const char* pattern, const std::optional<double>& value) {
    return value ? format(pattern, *value) : "-";
  };
  const auto count = [](int64_t value) { return value ? quantity(static_cast<double>(value)) : "-"; };
  using Score = const SubnetScore&;
  const std::vector<Column> columns{
      {"subnet", [](Score s) { return id(s.subnet); }},
      {"width", [](Score s) { return format("%g", s.subnet.width); }},
      {"depth", [](Score s) { return format("%g", s.subnet.depth); }},
      {"pixels", [](Score s) { return std::to_string(s.subnet.resolution); }},
      {"bits", [](Score s) { return std::to_string(s.subnet.bits); }},
      {"params", [&](Score s) { return count(s.cost.params); }},
      {"bytes", [&](Score s) { return count(s.cost.bytes); }},
      {"memory", [&](Score s) { return count(s.cost.memory); }},
      {"MACs", [&](Score s) { return count(s.cost.macs); }},
      {"BitOPs", [&](Score s) { return count(s.cost.bitops); }},
      {"ms",
       [&](Score s) {
         return s.latency ? format(s.latency->milliseconds < 10 ? "%.3f" : "%.1f", s.latency->milliseconds)
                          : "-";
       }},
      {"target %", [&](Score s) { return number("%.2f", s.accuracy); }},
      {"source %", [&](Score s) { return number("%.2f", s.source_accuracy); }},
      {"teacher %", [&](Score s) { return number("%.2f", s.teacher_agreement); }},
      {"information", [&](Score s) { return number("%.4f", s.information()); }},
  };
  // Columns from "ms" on are there only where some subnet has them; accuracies always.
  std::vector<std::vector<std::string>> rows(scores.size() + 1);
  for (const Column& column : columns) {
    const std::string head = column.head;
    const bool optional = head == "ms" || head == "teacher %" || head == "information";
    std::vector<std::string> cells;
    for (const SubnetScore& score : scores) cells.push_back(column.cell(score));
    if (optional &&
        std::all_of(cells.begin(), cells.end(), [](const std::string& cell) { return cell == "-"; }))
      continue;
    rows[0].push_back(head);
    for (std::size_t i = 0; i < cells.size(); ++i) rows[i + 1].push_back(cells[i]);
  }
  return table(rows);
}

}  // namespace rtfq::cli
