#include "data/image.h"

#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>

#include "data/color.h"
#include "data/envelope.h"
#include "data/exif.h"
#include "data/jpeg.h"
#include "data/stb_limits.h"
#include "engine/atomic_file.h"

namespace rtfq::data {
namespace {

constexpr int64_t max_file_bytes = int64_t{1} << 30;

[[noreturn]] void fail(const std::string& origin, const std::string& reason) {
  throw std::runtime_error("[data] cannot read " + origin + ": " + reason);
}

void check_channels(int channels) {
  if (channels != 1 && channels != 3)
    throw std::invalid_argument("[data] images are read with 1 or 3 channels, got " +
                                std::to_string(channels));
}

void check_dimensions(int64_t height, int64_t width, const std::string& origin) {
  if (height < 1 || width < 1) fail(origin, "it declares an empty image");
  if (height > max_image_pixels / width)
    fail(origin, "it declares " + std::to_string(width) + " x " + std::to_string(height) +
                     " pixels, more than the limit of " + std::to_string(max_image_pixels));
}

/// From 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels to 1 or 3.
Image convert(const uint8_t* pixels, int height, int width, int from, int to) {
  Image image{height, width, to, {}};
  const size_t count = static_cast<size_t>(height) * static_cast<size_t>(width);
  if (from == to) {
    image.pixels.assign(pixels, pixels + count * static_cast<size_t>(to));
    return image;
  }
  image.pixels.resize(count * static_cast<size_t>(to));
  const bool grey = from <= 2, alpha = from % 2 == 0;
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i, pixels += from, out += to) {
    uint8_t rgb[3] = {pixels[0], pixels[grey ? 0 : 1], pixels[grey ? 0 : 2]};
    if (alpha)
      for (uint8_t& value : rgb) value = over_black(value, pixels[from - 1]);
    if (to == 3)
      std::memcpy(out, rgb, 3);
    else
      out[0] = grey ? rgb[0] : luma(rgb[0], rgb[1], rgb[2]);
  }
  return image;
}

/// Binary PGM and PPM; samples are scaled to 0..255 where the declared maximum differs.
Image decode_netpbm(const uint8_t* bytes, size_t size, int channels, const std::string& origin) {
  size_t at = 2;
  const auto number = [&]() -> int64_t {
    for (;; ++at) {
      if (at >= size) fail(origin, "truncated within the header");
      if (bytes[at] == '#')
        while (at < size && bytes[at] != '\n') ++at;
      else if (bytes[at] >= '0' && bytes[at] <= '9')
        break;
      else if (bytes[at] != ' ' && (bytes[at] < 9 || bytes[at] > 13))
        fail(origin, "damaged: the header of a PGM or PPM file has three numbers");
    }
    int64_t value = 0;
    for (; at < size && bytes[at] >= '0' && bytes[at] <= '9'; ++at)
      if ((value = value * 10 + (bytes[at] - '0')) > INT32_MAX)
        fail(origin, "damaged: a number too large in the header");
    return value;
  };
  const int from = bytes[1] == '5' ? 1 : 3;
  const int64_t width = number(), height = number(), maximum = number();
  check_dimensions(height, width, origin);
  if (maximum < 1 || maximum > 65535) fail(origin, "damaged: the largest value must be within 1 and 65535");
  if (at < size) ++at;  // the one white space that ends the header
  const size_t samples = static_cast<size_t>(width * height) * static_cast<size_t>(from);
  const size_t wide = maximum > 255 ? 2 : 1;
  if (size - at < samples * wide)
    fail(origin, "truncated: " + std::to_string(size - at) + " of " + std::to_string(samples * wide) +
                     " bytes of pixels");
  const uint8_t* pixels = bytes + at;
  std::vector<uint8_t> scaled;
  if (maximum != 255) {
    scaled.resize(samples);
    for (size_t i = 0; i < samples; ++i) {
      const int64_t value = wide == 1 ? pixels[i] : (int64_t{pixels[2 * i]} << 8) | pixels[2 * i + 1];
      scaled[i] = static_cast<uint8_t>((std::min(value, maximum) * 255 + maximum / 2) / maximum);
    }
    pixels = scaled.data();
  }
  return convert(pixels, static_cast<int>(height), static_cast<int>(width), from, channels);
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) fail(path, "it does not exist");
  if (!std::filesystem::exists(status)) fail(path, error.message());
  if (!std::filesystem::is_regular_file(status)) fail(path, "it is not a regular file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) fail(path, std::strerror(errno));
  const int64_t size = file.tellg();
  if (size == 0) fail(path, "it is empty");
  if (size > max_file_bytes) fail(path, "it has more than 1 GiB");
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), size)) fail(path, "it could not be read to its end");
  return bytes;
}

/// PNG, and JPEG where libjpeg-turbo does not decode it: 1 to 4 channels, of which 1 or 3 are wanted.
Image decode_stb(const uint8_t* bytes, size_t size, Format format, int channels, const std::string& origin) {
  const int length = static_cast<int>(size);
  int width = 0, height = 0, from = 0;
  decoder_block_limit = (size_t{1} << 20) + 2 * size;
  // The decoder refuses large PNGs by its own limits and without saying so.
  if (format == Format::png) {
    const auto [h, w] = png_dimensions(bytes);
    check_dimensions(h, w, origin);
  }
  if (!stbi_info_from_memory(bytes, length, &width, &height, &from))
    fail(origin, "damaged or unsupported: its header cannot be interpreted");
  check_dimensions(height, width, origin);
  const std::string shortage = format == Format::png ? png_shortage(bytes, size) : jpeg_shortage(bytes, size);
  if (!shortage.empty()) fail(origin, shortage);
  // The largest block of a sound file: 16-bit RGBA, interlaced, doubled by the decoder's growing buffers.
  decoder_block_limit += size_t{32} * static_cast<size_t>(width) * static_cast<size_t>(height);
  const std::unique_ptr<uint8_t, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, length, &width, &height, &from, 0), stbi_image_free);
  if (!pixels) {
    const char* why = stbi_failure_reason();
    fail(origin, std::string("damaged or unsupported: ") + (why ? why : "no reason given"));
  }
  return convert(pixels.get(), height, width, from, channels);
}

Image decode_jpeg(const uint8_t* bytes, size_t size, int channels, const std::string& origin,
                  const Decoding& how) {
  if (how.jpeg == Decoding::Jpeg::turbo && !turbo_available())
    fail(origin,
         "this build has no libjpeg-turbo: set data.jpeg to auto, or install libturbojpeg0-dev and "
         "build again");
  if (how.jpeg == Decoding::Jpeg::stb || !turbo_available())
    return decode_stb(bytes, size, Format::jpeg, channels, origin);
  const auto [height, width] = jpeg_dimensions(bytes, size);
  check_dimensions(height, width, origin);
  const std::string shortage = jpeg_shortage(bytes, size);
  if (!shortage.empty()) fail(origin, shortage);
  std::string error;
  Image image = decode_turbo(bytes, size, 0, &error);
  if (!error.empty()) fail(origin, "damaged or unsupported: " + error);
  if (image.pixels.empty()) return decode_stb(bytes, size, Format::jpeg, channels, origin);
  if (image.channels == channels) return image;
  return convert(image.pixels.data(), image.height, image.width, image.channels, channels);
}

std::atomic<int64_t> decoded{0};

}  // namespace

int64_t decoded_images() {
  return decoded;
}

const char* jpeg_decoder(const Decoding& how) {
  return how.jpeg == Decoding::Jpeg::turbo || (how.jpeg == Decoding::Jpeg::best && turbo_available())
             ? "turbo"
             : "stb";
}

Image decode_image(const uint8_t* bytes, size_t size, int channels, const std::string& origin,
                   const Decoding& how) {
  check_channels(channels);
  ++decoded;
  if (size == 0) fail(origin, "it is empty");
  if (static_cast<int64_t>(size) > max_file_bytes) fail(origin, "it has more than 1 GiB");
  const Format format = sniff(bytes, size);
  if (format == Format::other)
    fail(origin,
         "it is not a PNG, JPEG, or binary PGM or PPM image; it looks like " + describe_foreign(bytes, size));
  if (format == Format::netpbm) return decode_netpbm(bytes, size, channels, origin);
  const std::string defect = format == Format::png ? png_defect(bytes, size) : jpeg_defect(bytes, size);
  if (!defect.empty()) fail(origin, defect);
  Image image = format == Format::jpeg ? decode_jpeg(bytes, size, channels, origin, how)
                                       : decode_stb(bytes, size, format, channels, origin);
  if (how.exif) return upright(std::move(image), exif_orientation(bytes, size));
  return image;
}

Image load_image(const std::string& path, int channels, const Decoding& how) {
  check_channels(channels);
  const std::vector<uint8_t> bytes = read_file(path);
  return decode_image(bytes.data(), bytes.size(), channels, path, how);
}

std::vector<uint8_t> encode_png(const Image& image) {
  const size_t expected = static_cast<size_t>(image.height) * static_cast<size_t>(image.width) *
                          static_cast<size_t>(image.channels);
  if (image.height < 1 || image.width < 1 || image.channels < 1 || image.channels > 4 ||
      image.pixels.size() != expected)
    throw std::invalid_argument("expected a non-empty image of 1 to 4 channels with all of its pixels");
  std::vector<uint8_t> encoded;
  const auto append = [](void* out, void* data, int size) {
    const auto* begin = static_cast<const uint8_t*>(data);
    static_cast<std::vector<uint8_t>*>(out)->insert(static_cast<std::vector<uint8_t>*>(out)->end(), begin,
                                                    begin + size);
  };
  if (!stbi_write_png_to_func(append, &encoded, image.width, image.height, image.channels,
                              image.pixels.data(), image.width * image.channels))
    throw std::runtime_error("the encoder failed");
  return encoded;
}

void save_png(const std::string& path, const Image& image) {
  try {
    const std::vector<uint8_t> encoded = encode_png(image);
    write_file_atomically(path, {reinterpret_cast<const char*>(encoded.data()), encoded.size()});
  } catch (const std::exception& error) {
    throw std::runtime_error("[data] cannot write " + path + ": " + error.what());
  }
}

}  // namespace rtfq::data
