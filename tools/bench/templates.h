#pragma once
// What new-plugin writes; the texts are tools/bench/templates and the headers of kernels/, built in.

#include <string>
#include <utility>
#include <vector>

namespace rtfq::lab {

/// Operators that there is a template for in some language.
std::vector<std::string> template_families();
/// Files of a template, by name. Throws std::invalid_argument when there is none in this language.
std::vector<std::pair<std::string, std::string>> template_files(const std::string& family,
                                                                const std::string& language);
/// "plugin.h" or "shapes.h".
std::string header_text(const std::string& name);
/// Where this program was built from.
std::string source_folder();

/// One built-in file: "fakequant.forward.c/plugin.c", or "c/Makefile", which all families share.
struct TemplateFile {
  const char* path;
  const char* text;
};
extern const TemplateFile template_table[];
extern const std::size_t template_count;
extern const char* const template_source;

}  // namespace rtfq::lab
