#pragma once
// Tables and quantities for people, and limits from them.

#include <cstdint>
#include <string>
#include <vector>

#include "training/evaluation.h"

namespace rtfq::cli {

/// 1234567 as "1.23M"; below 1000 as it is.
std::string quantity(double);

/// "1500", "1e6", "10M", "2.5G", "64Ki": K, M, G, T are powers of 1000, Ki to Ti of 1024; case does not
/// matter and a B may follow. Throws std::invalid_argument for anything else, negative numbers too.
double parse_quantity(const std::string&);

/// Columns padded to their widest cell; the first row is the head. Numbers (a cell's first character is a
/// digit or '-') to the right.
std::string table(const std::vector<std::vector<std::string>>& rows);

/// Subnets with their costs and what is known of their answers, one row each in the order given.
std::string score_table(const std::vector<SubnetScore>&);

}  // namespace rtfq::cli
