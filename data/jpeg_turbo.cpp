#include <turbojpeg.h>

#include <algorithm>
#include <memory>

#include "data/jpeg.h"

namespace rtfq::data {
namespace {

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};

/// One decoder a thread: making one costs as much as a small image. A decoder that met an error keeps a part
/// of the file it met it in, so it is thrown away.
thread_local std::unique_ptr<void, Destroy> decoder;

std::string last_error() {
  const std::string error = decoder ? tjGetErrorStr2(decoder.get()) : "the JPEG decoder could not be made";
  decoder.reset();
  return error;
}

/// The smallest scaling in eighths that leaves the shorter side at least `scale_to` pixels.
tjscalingfactor scaling(int shorter, int scale_to) {
  for (int eighths = 1; eighths < 8; ++eighths) {
    const tjscalingfactor factor{eighths, 8};
    if (TJSCALED(shorter, factor) >= scale_to) return factor;
  }
  return {1, 1};
}

}  // namespace

bool turbo_available() {
  return true;
}

Image decode_turbo(const uint8_t* bytes, size_t size, int scale_to, std::string* error) {
  if (!decoder) decoder.reset(tjInitDecompress());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (!decoder ||
      tjDecompressHeader3(decoder.get(), bytes, size, &width, &height, &subsampling, &colours) != 0) {
    *error = last_error();
    return {};
  }
  if (colours == TJCS_CMYK || colours == TJCS_YCCK) return {};
  if (scale_to > 0) {
    const tjscalingfactor factor = scaling(std::min(width, height), scale_to);
    width = TJSCALED(width, factor);
    height = TJSCALED(height, factor);
  }
  Image image{height, width, colours == TJCS_GRAY ? 1 : 3, {}};
  image.pixels.resize(image.offset(height, 0));
  if (tjDecompress2(decoder.get(), bytes, size, image.pixels.data(), width, 0, height,
                    image.channels == 1 ? TJPF_GRAY : TJPF_RGB, TJFLAG_ACCURATEDCT) != 0) {
    // A warning leaves a whole image: what the file lacked was looked for before (jpeg_defect).
    const bool whole = tjGetErrorCode(decoder.get()) == TJERR_WARNING;
    const std::string what = last_error();
    if (whole) return image;
    *error = what;
    return {};
  }
  return image;
}

}  // namespace rtfq::data
