#include "training/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace rtfq {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  throw std::runtime_error("[tensorboard] cannot write " + path + ": " + why);
}

template <class T>
std::string little_endian(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);  // x86-64 is the only target
  return out;
}
static_assert(std::endian::native == std::endian::little);

template <class T>
T from_little_endian(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

uint32_t masked(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

// Protocol buffers: a field is a varint of (number << 3 | wire type), then its value.
enum Wire { varint_type = 0, fixed64_type = 1, length_type = 2, fixed32_type = 5 };

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  return out += static_cast<char>(value);
}
std::string key(int number, Wire wire) {
  return varint(static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(wire));
}
std::string text_field(int number, const std::string& value) {
  return key(number, length_type) + varint(value.size()) + value;
}

// Event: 1 double wall_time, 2 int64 step, 3 string file_version, 5 Summary summary.
std::string event_head(double wall_time) {
  return key(1, fixed64_type) + little_endian(wall_time);
}

/// The step of an event that this writer made: it stands right behind the time. 0 for the version record.
int64_t step_of(std::string_view event) {
  if (event.size() < 11 || event[9] != key(2, varint_type)[0]) return 0;
  uint64_t step = 0;
  int shift = 0;
  for (std::size_t i = 10; i < event.size() && shift < 64; ++i, shift += 7) {
    step |= static_cast<uint64_t>(static_cast<unsigned char>(event[i]) & 0x7F) << shift;
    if (!(event[i] & 0x80)) break;
  }
  return static_cast<int64_t>(step);
}

constexpr std::size_t head_bytes = 12, tail_bytes = 4;

/// The next record of `in`; nothing at the end and where a record is incomplete or damaged.
std::optional<std::string> read_record(std::istream& in, uint64_t left) {
  std::string head(head_bytes, '\0');
  if (left < head_bytes + tail_bytes || !in.read(head.data(), head_bytes)) return {};
  const auto length = from_little_endian<uint64_t>(head);
  if (from_little_endian<uint32_t>(std::string_view(head).substr(8)) != masked(crc32c(head.substr(0, 8))))
    return {};
  if (length > left - head_bytes - tail_bytes) return {};
  std::string data(length + tail_bytes, '\0');
  if (!in.read(data.data(), static_cast<std::streamsize>(data.size()))) return {};
  const auto crc = from_little_endian<uint32_t>(std::string_view(data).substr(length));
  data.resize(length);
  if (crc != masked(crc32c(data))) return {};
  return data;
}

struct Kept {
  uint64_t bytes = 0;
  int64_t last_step = 0;
};

/// How much of a file is whole records of steps up to `step`.
Kept what_stays(const std::string& path, int64_t step) {
  Kept kept;
  std::ifstream in(path, std::ios::binary);
  if (!in) return kept;
  const uint64_t size = fs::file_size(path);
  while (const auto record = read_record(in, size - kept.bytes)) {
    const int64_t at = step_of(*record);
    if (at > step) break;
    kept.last_step = std::max(kept.last_step, at);
    kept.bytes += head_bytes + record->size() + tail_bytes;
  }
  return kept;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t crc32c(const std::string& bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> out{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0u);
      out[i] = value;
    }
    return out;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

std::string framed_record(const std::string& data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  return length + little_endian(masked(crc32c(length))) + data + little_endian(masked(crc32c(data)));
}

std::string scalar_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars)  // Summary: 1 Value{1 string tag, 2 float simple_value}
    summary += text_field(1, text_field(1, tag) + key(2, fixed32_type) + little_endian(value));
  return event_head(wall_time) + key(2, varint_type) + varint(static_cast<uint64_t>(step)) +
         text_field(5, summary);
}

EventFile::EventFile(const std::string& folder, int64_t step) : path_(folder + "/events.out.tfevents.rtfq") {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(folder, error.message());
  const Kept kept = what_stays(path_, step);
  // In place, so that a TensorBoard that watches goes on: the events that come again are as long as those cut
  // away.
  if (fs::exists(path_)) fs::resize_file(path_, kept.bytes, error);
  if (error) fail(path_, error.message());
  last_step_ = kept.last_step;
  file_.reset(std::fopen(path_.c_str(), "ab"));
  if (!file_) fail(path_, std::strerror(errno));
  if (kept.bytes == 0) write(event_head(now()) + text_field(3, "brain.Event:2"));
  flush();
}

void EventFile::write(const std::string& event) {
  const std::string record = framed_record(event);
  if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size())
    fail(path_, std::strerror(errno));
}

void EventFile::append(double wall_time, int64_t step, const Scalars& scalars) {
  write(scalar_event(wall_time, step, scalars));
}

void EventFile::flush() {
  if (std::fflush(file_.get())) fail(path_, std::strerror(errno));
}

}  // namespace rtfq
