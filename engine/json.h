#pragma once
// JSON, members in the order they were written. Reading and printing are compiled once, here, and not
// wherever a file's header is touched: the library's templates are slow to compile.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace rtfq {

using Json = nlohmann::ordered_json;

/// A discarded value (is_discarded()) for text that is not JSON or is nested deeper than 256 levels.
Json parse_json(const std::string& text);
/// One line, or lines indented by `indent` blanks a level.
std::string print_json(const Json&, int indent = -1);

}  // namespace rtfq
