// The glyph rasterizer of libstb-dev, alone in its translation unit.
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>
