#include "data/image.h"

#include <array>
#include <catch2/catch.hpp>

#include "tests/data/folder.h"

// The JPEG encoder of libstb-dev, for files to read back.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

std::string jpeg(const Image& image) {
  std::string bytes;
  stbi_write_jpg_to_func(
      [](void* out, void* data, int size) {
        static_cast<std::string*>(out)->append(static_cast<const char*>(data), static_cast<size_t>(size));
      },
      &bytes, image.width, image.height, image.channels, image.pixels.data(), 95);
  return bytes;
}

Image decode(const std::string& bytes, int channels) {
  return decode_image(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), channels, "memory");
}

/// The same PNG with four bytes at `at` replaced and the checksum of its header chunk made right again.
std::string with_dimension(std::string png, size_t at, uint32_t value) {
  const auto put = [&](size_t where, uint32_t v) {
    for (size_t i = 0; i < 4; ++i) png[where + i] = static_cast<char>(v >> (24 - 8 * i));
  };
  put(at, value);
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<uint8_t>(png[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
  }
  put(29, ~crc);
  return png;
}

}  // namespace

TEST_CASE("PNG: written and read back, every kind of channels") {
  const Folder folder;
  const Image grey = pattern(5, 7, 1), rgb = pattern(5, 7, 3);
  const std::string g = folder.write("g.png", grey), c = folder.write("c.png", rgb);
  CHECK(load_image(g, 1).pixels == grey.pixels);
  CHECK(load_image(c, 3).pixels == rgb.pixels);

  const Image from_grey = load_image(g, 3), from_rgb = load_image(c, 1);
  REQUIRE(from_grey.pixels.size() == 105);
  REQUIRE(from_rgb.pixels.size() == 35);
  for (size_t i = 0; i < 35; ++i) {
    for (size_t k = 0; k < 3; ++k) CHECK(from_grey.pixels[3 * i + k] == grey.pixels[i]);
    const int luma =
        (19595 * rgb.pixels[3 * i] + 38470 * rgb.pixels[3 * i + 1] + 7471 * rgb.pixels[3 * i + 2] + 32768) >>
        16;
    CHECK(from_rgb.pixels[i] == luma);
  }
  CHECK_THROWS_AS(load_image(g, 2), std::invalid_argument);
}

TEST_CASE("PNG: transparency is composited on black before grey is made") {
  const Folder folder;
  const std::string rgba =
      folder.write("rgba.png", Image{1, 3, 4, {255, 0, 0, 255, 200, 100, 50, 0, 200, 100, 50, 128}});
  CHECK(load_image(rgba, 3).pixels == std::vector<uint8_t>{255, 0, 0, 0, 0, 0, 100, 50, 25});
  CHECK(load_image(rgba, 1).pixels ==
        std::vector<uint8_t>{76, 0, (19595 * 100 + 38470 * 50 + 7471 * 25 + 32768) >> 16});
  const std::string ga = folder.write("ga.png", Image{1, 3, 2, {255, 255, 90, 0, 201, 128}});
  CHECK(load_image(ga, 1).pixels == std::vector<uint8_t>{255, 0, 101});
  CHECK(load_image(ga, 3).pixels == std::vector<uint8_t>{255, 255, 255, 0, 0, 0, 101, 101, 101});
}

TEST_CASE("JPEG: close to what was encoded") {
  Image smooth = constant(24, 40, 3, 0);
  for (int y = 0; y < 24; ++y)
    for (int x = 0; x < 40; ++x)
      for (int k = 0; k < 3; ++k)
        smooth.pixels[smooth.offset(y, x) + static_cast<size_t>(k)] =
            static_cast<uint8_t>(4 * x + 3 * y + 5 * k);
  const Image back = decode(jpeg(smooth), 3);
  REQUIRE(back.height == 24);
  REQUIRE(back.width == 40);
  int worst = 0;
  for (size_t i = 0; i < back.pixels.size(); ++i)
    worst = std::max(worst, std::abs(int{back.pixels[i]} - int{smooth.pixels[i]}));
  CHECK(worst <= 12);
  CHECK(decode(jpeg(smooth), 1).channels == 1);
}

TEST_CASE("PGM and PPM: binary, with comments, other maxima and two-byte samples") {
  CHECK(decode(std::string("P5\n# made by hand\n2 2\n255\n\x01\x02\x03\xFF", 30), 1).pixels ==
        std::vector<uint8_t>{1, 2, 3, 255});
  CHECK(decode(std::string("P6 1 1 255 \x0A\x14\x1E", 14), 3).pixels == std::vector<uint8_t>{10, 20, 30});
  CHECK(decode(std::string("P5 3 1 15 \x00\x07\x0F", 13), 1).pixels == std::vector<uint8_t>{0, 119, 255});
  CHECK(decode(std::string("P5 2 1 65535 \xFF\xFF\x80\x00", 17), 1).pixels == std::vector<uint8_t>{255, 128});
  CHECK_THAT(message([] { decode("P5 4 4 255 abc", 1); }), Contains("truncated: 3 of 16 bytes"));
  CHECK_THAT(message([] { decode("P5 4 4", 1); }), Contains("truncated within the header"));
  CHECK_THAT(message([] { decode("P5 4 x", 1); }), Contains("three numbers"));
  CHECK_THAT(message([] { decode("P5 99999999999 1 255 a", 1); }), Contains("number too large"));
  CHECK_THAT(message([] { decode("P5 1 1 0 a", 1); }), Contains("within 1 and 65535"));
  CHECK_THAT(message([] { decode("P6 0 1 255 a", 1); }), Contains("empty image"));
  CHECK_THAT(message([] { decode("P2 1 1 255 1", 1); }), Contains("another kind of netpbm"));
}

TEST_CASE("files that are no whole image: the file and the reason are named") {
  const Folder folder;
  const std::string png = read_bytes(folder.write("whole.png", pattern(40, 40, 3)));
  const std::string jpg = jpeg(pattern(40, 40, 3));
  const auto why = [&](const std::string& name, const std::string& bytes) {
    const std::string path = folder.write(name, bytes);
    const std::string text = message([&] { load_image(path, 3); });
    CHECK_THAT(text, Contains("[data] cannot read " + path + ": "));
    return text;
  };
  CHECK_THAT(why("empty.png", std::string()), Contains("it is empty"));
  CHECK_THAT(why("text.png", std::string("hello, this is text\n")),
             Contains("not a PNG") && Contains("looks like text"));
  CHECK_THAT(why("zeros.jpg", std::string(100, '\0')), Contains("unknown data"));
  CHECK_THAT(why("gif.png", std::string("GIF89a........")), Contains("a GIF image"));
  CHECK_THAT(why("webp.jpg", std::string("RIFF....WEBPVP8 ")), Contains("a WebP image"));
  CHECK_THAT(message([&] { load_image(folder.path("absent.png"), 3); }),
             Contains("absent.png: it does not exist"));
  CHECK_THAT(message([&] { load_image(folder.path(), 3); }), Contains("not a regular file"));

  // Cut anywhere, an image must be refused: decoders would fill the rest in silence.
  for (size_t size = 4; size < png.size(); size += size < 80 ? 1 : 97)
    CHECK_THAT(message([&] { decode(png.substr(0, size), 3); }), Contains("truncated"));
  for (size_t size = 2; size < jpg.size(); size += size < 700 ? 1 : 31)
    CHECK_THAT(message([&] { decode(jpg.substr(0, size), 3); }), Contains("truncated"));
  CHECK(decode(png + "trailing", 3).height == 40);
  CHECK(decode(jpg + "trailing", 3).height == 40);
}

TEST_CASE("damage is found or harmless") {
  const Folder folder;
  const std::string png = read_bytes(folder.write("whole.png", pattern(16, 16, 3)));
  const std::string jpg = jpeg(pattern(16, 16, 3));
  std::string flipped = png;
  flipped[png.size() / 2] = static_cast<char>(flipped[png.size() / 2] ^ 1);
  CHECK_THAT(message([&] { decode(flipped, 3); }), Contains("wrong checksum of chunk IDAT"));
  // Every byte of a JPEG in turn, two ways: the call returns an image or throws; sanitizers watch.
  int decoded = 0;
  for (size_t i = 2; i < jpg.size(); ++i)
    for (const int mask : {0x01, 0xFF}) {
      std::string damaged = jpg;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const std::string text = message([&] { decoded += decode(damaged, 3).height > 0; });
      if (!text.empty()) CHECK_THAT(text, Contains("[data] cannot read memory"));
    }
  CHECK(decoded > 0);
  const std::string headless = png.substr(0, 8) + png.substr(33);
  CHECK_THAT(message([&] { decode(headless, 3); }), Contains("no IHDR chunk"));
  // A Huffman table that claims more codes than its buffer holds.
  const size_t table = jpg.find("\xFF\xC4");
  REQUIRE(table != std::string::npos);
  std::string greedy = jpg;
  for (size_t i = 0; i < 16; ++i) greedy[table + 5 + i] = '\xFF';
  CHECK_THAT(message([&] { decode(greedy, 3); }), Contains("impossible Huffman tables"));
}

TEST_CASE("JPEG: scans that refer to what is not there") {
  const std::string jpg = jpeg(pattern(16, 16, 3));
  /// Where the n-th segment of this marker starts, and its bytes with the marker.
  const auto segment = [&](const char* marker, int n) {
    size_t at = jpg.find(marker);
    for (; n > 0; --n) at = jpg.find(marker, at + 1);
    REQUIRE(at != std::string::npos);
    return std::pair{at,
                     2 + size_t{static_cast<uint8_t>(jpg[at + 2])} * 256 + static_cast<uint8_t>(jpg[at + 3])};
  };
  const auto without = [&](const char* marker, int n) {
    const auto [at, size] = segment(marker, n);
    return jpg.substr(0, at) + jpg.substr(at + size);
  };
  const auto why = [](const std::string& bytes) { return message([&] { decode(bytes, 3); }); };
  CHECK(why(jpg) == "");
  CHECK_THAT(why(without("\xFF\xC4", 0)), Contains("Huffman table that is not defined"));
  CHECK_THAT(why(without("\xFF\xDB", 0)), Contains("quantization table that is not defined"));
  CHECK_THAT(why(without("\xFF\xC0", 0)), Contains("a scan before the frame header"));
  CHECK_THAT(why(without("\xFF\xDA", 0)), Contains("a component of the image has no scan"));
  CHECK_THAT(why("\xFF\xD8\xFF\xD9"), Contains("no frame header"));
  // A frame of arithmetic coding in front, whose dimensions nobody has checked.
  const auto [frame, frame_size] = segment("\xFF\xC0", 0);
  std::string arithmetic = jpg.substr(frame, frame_size);
  arithmetic[1] = '\xC9';
  CHECK_THAT(why(jpg.substr(0, frame) + arithmetic + jpg.substr(frame)), Contains("no frame header"));
  std::string other = jpg;
  other[segment("\xFF\xDA", 0).first + 5] = 77;
  CHECK_THAT(why(other), Contains("a scan of an unknown component"));
  other = jpg;
  other[segment("\xFF\xDA", 0).first + 6] = 0x33;
  CHECK_THAT(why(other), Contains("Huffman table that is not defined"));
  other = jpg;
  other[segment("\xFF\xC0", 0).first + 12] = 2;
  CHECK_THAT(why(other), Contains("quantization table that is not defined"));
  other[segment("\xFF\xC0", 0).first + 12] = 9;
  CHECK_THAT(why(other), Contains("impossible frame header"));
}

TEST_CASE("declared sizes are checked before memory is taken") {
  const Folder folder;
  const std::string png = read_bytes(folder.write("small.png", pattern(4, 4, 3)));
  const std::string wide = with_dimension(with_dimension(png, 16, 60000), 20, 60000);
  CHECK_THAT(message([&] { decode(wide, 3); }), Contains("60000 x 60000 pixels, more than the limit"));
  CHECK_THAT(message([&] { decode(with_dimension(png, 16, 0x7FFFFFFF), 3); }),
             Contains("2147483647 x 4 pixels, more than the limit"));
  CHECK_THAT(message([&] { decode(with_dimension(png, 16, 0), 3); }), Contains("empty image"));
  // Within the limit but with too few pixels behind it: an error, not an image with garbage.
  CHECK_THAT(message([&] { decode(with_dimension(png, 20, 5000), 3); }), Contains("damaged or unsupported"));
  // Nor is memory taken for pixels that no file of its size can hold; those that one can hold are read.
  CHECK_THAT(message([&] { decode(with_dimension(with_dimension(png, 16, 9000), 20, 9000), 3); }),
             Contains("bytes cannot hold 9000 x 9000 pixels"));
  std::string jpg = jpeg(pattern(16, 16, 3));
  const size_t frame = jpg.find("\xFF\xC0");
  jpg.replace(frame + 5, 4, "\x23\x28\x23\x28");
  for (const auto decoder : {Decoding::Jpeg::best, Decoding::Jpeg::stb})
    CHECK_THAT(message([&] {
                 decode_image(reinterpret_cast<const uint8_t*>(jpg.data()), jpg.size(), 3, "memory",
                              {decoder, false});
               }),
               Contains("bytes cannot hold 9000 x 9000 pixels"));
  CHECK(decode(jpeg(constant(800, 800, 3, 128)), 3).height == 800);
  CHECK_THAT(message([&] { decode("P6 100000 100000 255 abc", 3); }), Contains("more than the limit"));

  // A header of 4 x 4 with four megabytes of zeros behind it, compressed: the inflater must stop early.
  const std::string big = read_bytes(folder.write("bomb.png", constant(2000, 2000, 1, 0)));
  const std::string bomb = with_dimension(with_dimension(big, 16, 4), 20, 4);
  CHECK(big.size() < 100000);
  CHECK(decode(big, 3).height == 2000);
  CHECK_THAT(message([&] { decode(bomb, 3); }), Contains("damaged or unsupported"));
}

TEST_CASE("PNG: what cannot be written") {
  const Folder folder;
  CHECK_THAT(message([&] { save_png(folder.path("no/such/folder.png"), constant(1, 1, 1, 0)); }),
             Contains("cannot write") && Contains("No such file"));
  CHECK_THAT(message([&] {
               save_png(folder.path("x.png"), Image{2, 2, 1, {0}});
             }),
             Contains("all of its pixels"));
  CHECK_FALSE(std::filesystem::exists(folder.path("x.png")));
}
