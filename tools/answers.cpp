#include "tools/answers.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include "engine/safetensors.h"
#include "tools/command.h"
#include "tools/csv.h"

namespace rtfq::cli {

Answers::Answers(std::vector<std::string> classes, int top)
    : classes_(std::move(classes)), top_(std::min(static_cast<std::size_t>(top), classes_.size())) {
  std::vector<std::string> names{"path"};
  for (std::size_t i = 1; i <= top_; ++i) {
    const std::string number = i == 1 ? "" : std::to_string(i);
    names.push_back("class" + number);
    names.push_back("probability" + number);
  }
  lines_ = csv_line(names);
}

void Answers::add(const std::string& path, std::span<const float> probabilities) {
  std::vector<std::size_t> order(classes_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  std::vector<std::string> cells{path};
  for (std::size_t i = 0; i < top_; ++i) {
    char probability[32];
    std::snprintf(probability, sizeof probability, "%.6f", static_cast<double>(probabilities[order[i]]));
    cells.push_back(classes_[order[i]]);
    cells.push_back(probability);
  }
  lines_ += csv_line(cells);
  ++images_;
}

void Answers::write(const std::string& out, const Subnet& subnet) const {
  if (out.empty())
    std::fputs(lines_.c_str(), stdout);
  else
    write_file_atomically(out, lines_);
  note("answers of " + id(subnet) + " for " + std::to_string(images_) + " images" +
       (out.empty() ? "" : " are in " + out));
}

}  // namespace rtfq::cli
