#pragma once
// What the decoder does not check: that a file is whole.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace rtfq::data {

enum class Format { png, jpeg, netpbm, other };

Format sniff(const uint8_t* bytes, size_t size);
/// What an unsupported file most likely is: "a GIF image", "text", ...
std::string describe_foreign(const uint8_t* bytes, size_t size);

/// Empty when the chunks of a PNG begin with IHDR and are complete up to IEND and their checksums agree;
/// otherwise what is wrong.
std::string png_defect(const uint8_t* bytes, size_t size);
/// Height and width that a PNG without defect declares.
std::pair<int64_t, int64_t> png_dimensions(const uint8_t* bytes);
/// Height and width that the frame header of a JPEG without defect declares.
std::pair<int64_t, int64_t> jpeg_dimensions(const uint8_t* bytes, size_t size);
/// Empty when the segments of a JPEG run to an end-of-image marker, every component has a scan, and scans use
/// tables that are defined; otherwise what is wrong. Decoders fill the missing part of a truncated JPEG with
/// grey and report nothing.
std::string jpeg_defect(const uint8_t* bytes, size_t size);

/// Empty when a PNG or JPEG without defect is large enough for the pixels that it declares: nothing
/// compresses better than 1032 bytes into one (deflate) or 8 blocks of 64 pixels into one byte (a bit each).
/// So the memory that decoding takes is bounded by the size of the file, whatever its header says.
std::string png_shortage(const uint8_t* bytes, size_t size);
std::string jpeg_shortage(const uint8_t* bytes, size_t size);

}  // namespace rtfq::data
