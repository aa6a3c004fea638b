#pragma once
// Files that somebody else wrote, read as spans of bytes. Every parser of this folder is a function of such a
// span: it opens nothing, executes nothing, and checks each size and offset against the span before it
// allocates.

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace rtfq::formats {

using Bytes = std::span<const unsigned char>;

/// What is wrong with a file's contents; the caller adds the file's name.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A little-endian cursor over bytes. Reads beyond the end throw FormatError.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes, std::size_t position = 0) : bytes_(bytes) { seek(position); }

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }

  void seek(std::size_t position) {
    if (position > bytes_.size()) cut_off(position - bytes_.size());
    position_ = position;
  }
  /// The next `count` bytes, without copying them.
  Bytes take(uint64_t count) {
    if (count > left()) cut_off(count - left());
    const Bytes taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }
  template <class T>
  T read() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string text(uint64_t count) {
    const Bytes taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// Up to the next line feed, which is read and left out.
  std::string line() {
    const auto* begin = bytes_.data() + position_;
    const void* end = left() ? std::memchr(begin, '\n', left()) : nullptr;
    if (!end) cut_off(1);
    std::string result = text(static_cast<uint64_t>(static_cast<const unsigned char*>(end) - begin));
    ++position_;
    return result;
  }

 private:
  [[noreturn]] void cut_off(uint64_t missing) const {
    throw FormatError("the file is cut off: " + std::to_string(missing) +
                      " more byte(s) expected after byte " + std::to_string(position_) + " of " +
                      std::to_string(bytes_.size()));
  }
  Bytes bytes_;
  std::size_t position_ = 0;
};

/// The whole file. Throws std::runtime_error naming the file and the system's reason.
std::vector<unsigned char> read_whole_file(const std::string& path);

/// A name from a file as an error may show it: printable and at most 80 characters.
std::string shown_name(const std::string& name);

}  // namespace rtfq::formats
