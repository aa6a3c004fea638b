// TensorBoard's files byte by byte: checksums of known vectors, framing, messages, and what a resumed run
// keeps.
#include "training/tensorboard.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace rtfq;
using Catch::Matchers::Contains;

namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

template <class T>
T at(const std::string& bytes, std::size_t offset) {
  T value;
  REQUIRE(offset + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// The data of every record; lengths are believed, checksums are not looked at.
std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < file.size();) {
    const auto length = at<uint64_t>(file, i);
    REQUIRE(i + 12 + length + 4 <= file.size());
    out.push_back(file.substr(i + 12, length));
    i += 12 + length + 4;
  }
  return out;
}

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("rtfq-tensorboard-" + std::to_string(::getpid()));
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("crc32c: the vectors of RFC 3720", "[tensorboard]") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i), falling += static_cast<char>(31 - i);
  CHECK(crc32c(rising) == 0x46DD794Eu);
  CHECK(crc32c(falling) == 0x113FDB5Cu);
}

TEST_CASE("a record is length, its checksum, data and theirs", "[tensorboard]") {
  const std::string record = framed_record("123456789");
  REQUIRE(record.size() == 8 + 4 + 9 + 4);
  CHECK(at<uint64_t>(record, 0) == 9);
  CHECK(record.substr(12, 9) == "123456789");
  // 0xE3069283 turned right by 15 bits, plus 0xa282ead8.
  CHECK(at<uint32_t>(record, 21) == ((0xE3069283u >> 15 | 0xE3069283u << 17) + 0xa282ead8u));
  const uint32_t of_length = crc32c(record.substr(0, 8));
  CHECK(at<uint32_t>(record, 8) == (of_length >> 15 | of_length << 17) + 0xa282ead8u);
}

TEST_CASE("an event is the message of event.proto", "[tensorboard]") {
  // Written out by hand: wall_time 1.5 (field 1, fixed64), step 300 (field 2, varint), summary (field 5).
  const std::string expected(
      "\x09\x00\x00\x00\x00\x00\x00\xF8\x3F"
      "\x10\xAC\x02"
      "\x2A\x0A"  // ten bytes of summary
      "\x0A\x08"  // one value of eight bytes
      "\x0A\x01"  // its tag, one byte
      "a"
      "\x15\x00\x00\x80\x3E",  // simple_value 0.25
      9 + 3 + 2 + 2 + 3 + 5);
  CHECK(scalar_event(1.5, 300, {{"a", 0.25f}}) == expected);
}

TEST_CASE("an event file goes on after a step", "[tensorboard]") {
  const Folder folder;
  std::string path;
  {
    EventFile file(folder.path.string(), 0);
    path = file.path();
    CHECK(file.last_step() == 0);
    for (int64_t step = 1; step <= 300; ++step)
      file.append(1.0 + static_cast<double>(step), step, {{"loss", 2.0f}});
  }
  const std::string whole = bytes_of(path);
  REQUIRE(records(whole).size() == 301);
  CHECK_THAT(records(whole)[0], Contains("brain.Event:2"));

  // Stopped after step 300 with a checkpoint of step 200: the rest comes again, with the same bytes.
  {
    EventFile file(folder.path.string(), 200);
    CHECK(file.last_step() == 200);
    CHECK(records(bytes_of(path)).size() == 201);
    for (int64_t step = 201; step <= 300; ++step)
      file.append(1.0 + static_cast<double>(step), step, {{"loss", 2.0f}});
  }
  CHECK(bytes_of(path) == whole);

  // Cut off while it was written, and damaged in the middle.
  std::filesystem::resize_file(path, whole.size() - 3);
  CHECK(EventFile(folder.path.string(), 400).last_step() == 299);
  CHECK(records(bytes_of(path)).size() == 300);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(whole.size() / 2));
    file.put('\x7F');
    file.put('\x55');
  }
  const int64_t kept = EventFile(folder.path.string(), 400).last_step();
  CHECK(kept > 140);
  CHECK(kept < 160);
  CHECK(records(bytes_of(path)).size() == static_cast<std::size_t>(kept) + 1);

  CHECK(EventFile(folder.path.string(), 0).last_step() == 0);
  CHECK(records(bytes_of(path)).size() == 1);
  CHECK_THROWS_WITH(EventFile("/proc/no/such/folder", 0), Contains("[tensorboard]"));
}
