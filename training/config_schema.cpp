#include "training/config_schema.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

namespace rtfq::schema {
namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string leaf(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

}  // namespace

std::string section_doc(const std::string& section) {
  if (section == "data") return "The images.";
  if (section == "data.augmentation")
    return "Random changes of training images, both domains; 0 or false: none.";
  if (section == "model") return "The network and where its quantizers sit.";
  if (section == "loss") return "Weights and settings of the losses; 0 turns one off.";
  if (section == "optimizer") return "Stochastic gradient descent.";
  if (section == "train") return "The run: first float_steps, then source_steps, then adaptation.";
  return "";
}

std::string nearest_key(const std::string& key) {
  std::string best;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  const auto consider = [&](const std::string& candidate) {
    // A right name in a wrong or missing section is one edit away.
    const std::size_t distance =
        std::min(edit_distance(key, candidate), edit_distance(leaf(key), leaf(candidate)) + 1);
    if (distance < least) least = distance, best = candidate;
  };
  for (const Field& field : fields()) {
    consider(field.key);
    if (const std::size_t dot = field.key.rfind('.'); dot != field.key.npos)
      consider(field.key.substr(0, dot));
  }
  return best;
}

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
  return *std::min_element(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
}

std::vector<std::string> differing_keys(const Config& a, const Config& b) {
  std::vector<std::string> out;
  for (const Field& field : fields())
    if (!field.is_part && field.write(a) != field.write(b)) out.push_back(field.key);
  return out;
}

}  // namespace rtfq::schema
