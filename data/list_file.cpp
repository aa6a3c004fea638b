#include "data/list_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace rtfq::data {
namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

}  // namespace

bool is_label_number(const std::string& text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool has_image_extension(const std::string& path) {
  // Formats that cannot be decoded are listed too: leaving such files out in silence would change the data
  // set.
  static constexpr std::array<std::string_view, 14> extensions = {
      "png", "jpg", "jpeg", "jpe", "pgm", "ppm", "pnm", "bmp", "tiff", "gif", "webp", "avif", "heic", "tif"};
  const size_t dot = path.rfind('.');
  if (dot == std::string::npos) return false;
  std::string extension = path.substr(dot + 1);
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

std::vector<ListLine> read_list(const std::string& file, const std::vector<std::string>& classes) {
  std::ifstream stream(file);
  if (!stream) throw std::runtime_error("[data] cannot read list " + file + ": " + std::strerror(errno));
  std::vector<std::string> blank_names;
  for (const std::string& name : classes)
    if (name.find_first_of(blanks) != std::string::npos) blank_names.push_back(name);
  std::vector<ListLine> lines;
  std::string raw;
  for (int number = 1; std::getline(stream, raw); ++number) {
    if (raw.find('\0') != std::string::npos)
      throw std::runtime_error("[data] " + file + " is not a list file: line " + std::to_string(number) +
                               " is not text; expected a folder of images or lines `path label`");
    std::string_view text = raw;
    if (number == 1 && text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    text = trim(text);
    if (text.empty() || text.front() == '#') continue;

    ListLine line{number, std::string(text), {}, false};
    size_t cut = text.rfind('\t');
    if (cut == std::string_view::npos) {
      // A known class may contain blanks: the longest that ends the line wins. Otherwise the label is the
      // last word, unless the line as it stands ends like an image's name.
      for (const std::string& name : blank_names)
        if (text.size() > name.size() + 1 && text.substr(text.size() - name.size()) == name &&
            blanks.find(text[text.size() - name.size() - 1]) != std::string_view::npos)
          cut = std::min(cut, text.size() - name.size() - 1);
      if (cut == std::string_view::npos && !has_image_extension(line.path)) cut = text.find_last_of(blanks);
    }
    if (cut != std::string_view::npos) {
      line.label = trim(text.substr(cut));
      line.path = trim(text.substr(0, cut));
      line.labelled = true;
    }
    lines.push_back(std::move(line));
  }
  if (stream.bad()) throw std::runtime_error("[data] cannot read list " + file + " to its end");
  if (lines.empty())
    throw std::runtime_error("[data] list " + file +
                             " names no images: expected lines `path label` or `path`");
  return lines;
}

}  // namespace rtfq::data
