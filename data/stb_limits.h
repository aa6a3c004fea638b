#pragma once
#include <cstddef>

namespace rtfq::data {

/// The largest block, in bytes, that the decoder may allocate on this thread; set before every call into it.
extern thread_local size_t decoder_block_limit;

}  // namespace rtfq::data
