#pragma once
#include <string_view>

namespace rtfq {

/// Whether text is UTF-8 as JSON wants it: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace rtfq
