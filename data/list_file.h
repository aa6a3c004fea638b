#pragma once
#include <string>
#include <vector>

namespace rtfq::data {

/// One line of a list file, not yet resolved.
struct ListLine {
  int line = 0;  ///< 1-based
  std::string path, label;
  bool labelled = false;
};

/// Splits a list file into paths and labels by the rules of docs/data.md. `classes` are names that a label
/// may have besides integers. Throws std::runtime_error naming file and line.
std::vector<ListLine> read_list(const std::string& file, const std::vector<std::string>& classes);

/// The text is a non-negative integer of at most 9 digits.
bool is_label_number(const std::string& text);
/// The name ends like an image file, in any case.
bool has_image_extension(const std::string& path);

}  // namespace rtfq::data
