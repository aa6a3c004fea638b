#include "tools/bench/templates.h"

#include <algorithm>
#include <stdexcept>

namespace rtfq::lab {

std::vector<std::string> template_families() {
  std::vector<std::string> families;
  for (std::size_t i = 0; i < template_count; ++i) {
    const std::string path = template_table[i].path;
    const std::size_t slash = path.find('/');
    if (slash == path.npos) continue;
    const std::string folder = path.substr(0, slash), family = folder.substr(0, folder.rfind('.'));
    if (family == folder) continue;  // a language's, for all families
    if (std::find(families.begin(), families.end(), family) == families.end()) families.push_back(family);
  }
  return families;
}

std::vector<std::pair<std::string, std::string>> template_files(const std::string& family,
                                                                const std::string& language) {
  std::vector<std::pair<std::string, std::string>> files;
  const auto add = [&](const std::string& folder) {
    for (std::size_t i = 0; i < template_count; ++i)
      if (const std::string path = template_table[i].path; path.rfind(folder, 0) == 0)
        files.emplace_back(path.substr(folder.size()), template_table[i].text);
  };
  add(family + "." + language + "/");
  if (!files.empty()) add(language + "/");
  if (files.empty())
    throw std::invalid_argument("[new-plugin] there is no template of " + family + " in " + language);
  return files;
}

std::string header_text(const std::string& name) {
  for (std::size_t i = 0; i < template_count; ++i)
    if (name == template_table[i].path) return template_table[i].text;
  throw std::invalid_argument("[new-plugin] there is no header " + name);
}

std::string source_folder() {
  return template_source;
}

}  // namespace rtfq::lab
