#pragma once
#include <string>
#include <vector>

namespace rtfq::cli {

/// One line of a CSV file (RFC 4180, but a line ends in \n): cells with commas, quotes or line ends are
/// quoted.
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace rtfq::cli
