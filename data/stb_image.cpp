// The PNG and JPEG decoder of libstb-dev, alone in its translation unit. Every block it allocates is bounded,
// so that a small file cannot inflate without end: see decode_image.
#include <cstdlib>

#include "data/stb_limits.h"

namespace rtfq::data {

thread_local size_t decoder_block_limit = 0;

namespace {
/// Zeroed: of a damaged JPEG, parts that no scan reached are shown as they were allocated.
void* bounded_malloc(size_t size) {
  return size <= decoder_block_limit ? std::calloc(size, 1) : nullptr;
}
void* bounded_realloc(void* block, size_t size) {
  return size <= decoder_block_limit ? std::realloc(block, size) : nullptr;
}
}  // namespace
}  // namespace rtfq::data

#define STBI_MALLOC(size) rtfq::data::bounded_malloc(size)
#define STBI_REALLOC(block, size) rtfq::data::bounded_realloc(block, size)
#define STBI_FREE(block) std::free(block)
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
