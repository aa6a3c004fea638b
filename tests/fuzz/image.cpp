// Image decoding through our wrapper: stb_image, libjpeg-turbo and what stands before them.
#include "data/image.h"

#include "engine/crc32.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

namespace {

/// The checksums of a PNG's chunks made to fit, so that what lies behind them is reached.
void reseal(std::vector<uint8_t>& png) {
  const auto big_endian = [&](std::size_t at) {
    return uint32_t{png[at]} << 24 | uint32_t{png[at + 1]} << 16 | uint32_t{png[at + 2]} << 8 | png[at + 3];
  };
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length = big_endian(at);
    if (length > png.size() - at - 12) return;
    const uint32_t sum = crc32(png.data() + at + 4, length + 4);
    for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += length + 12;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  // A byte of one-bit pixels, well compressed: 8256 pixels, which a palette makes RGBA, then RGB.
  const fuzz::Memory memory(size, 1 << 17);
  std::vector<uint8_t> file(data, data + size);
  if (size > 8 && data[0] == 0x89) reseal(file);
  for (const auto jpeg : {data::Decoding::Jpeg::best, data::Decoding::Jpeg::stb})
    for (const int channels : {1, 3}) {
      data::Image image;
      if (!fuzz::accepts([&] {
            image = data::decode_image(file.data(), file.size(), channels, "fuzz", {jpeg, true});
          }))
        continue;
      fuzz::require(image.height > 0 && image.width > 0 && image.channels == channels,
                    "an image without pixels");
      fuzz::require(image.pixels.size() == image.offset(image.height, 0), "pixels are missing");
    }
  return 0;
}
