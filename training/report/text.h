#pragma once
// Numbers and words as people read them, and as HTML and SVG need them.

#include <string>

namespace rtfq::report {

/// For text and attribute values of HTML and SVG: & < > " ' are replaced, and so is what neither may hold:
/// control characters, and bytes that are not UTF-8.
std::string escape(const std::string&);

/// `digits` decimals; no "-0.0"; "nan" and "inf" as they are.
std::string fixed(double value, int digits);
/// About three figures, no exponent between 1e-4 and 1e6, "5×10⁻⁵" outside.
std::string rounded(double value);
/// As few digits as tell it from others: "0.5", "1".
std::string shortest(double value);
/// "5×10⁻⁵"; the value is finite and not zero.
std::string scientific(double value);
/// 1234567 as "1.23M"; K, M, G, T, P are powers of 1000.
std::string quantity(double value);
/// "734 B", "92.2 KB", "1.23 MB": powers of 1000.
std::string bytes(double value);
/// "1.234" of 1234 and so on is hard to read beside decimals: groups of three apart by a thin space.
std::string whole(long long value);
/// "42 s", "3 min 5 s", "2 h 7 min".
std::string duration(double seconds);

}  // namespace rtfq::report
