// Image decoding through our wrapper: stb_image, libjpeg-turbo and what stands before them.
#include "data/image.h"

#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  for (const auto jpeg : {data::Decoding::Jpeg::best, data::Decoding::Jpeg::stb})
    for (const int channels : {1, 3}) {
      data::Image image;
      if (!fuzz::accepts([&] { image = data::decode_image(data, size, channels, "fuzz", {jpeg, true}); }))
        continue;
      fuzz::require(image.height > 0 && image.width > 0 && image.channels == channels,
                    "an image without pixels");
      fuzz::require(image.pixels.size() == image.offset(image.height, 0), "pixels are missing");
    }
  return 0;
}
