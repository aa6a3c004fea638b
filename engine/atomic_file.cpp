#include "engine/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace rtfq {
namespace {

constexpr const char* mark = ".tmp";

/// There, and neither a file nor a folder.
bool is_device(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

}  // namespace

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)),
      temporary_(path_ + mark + std::to_string(::getpid())),
      in_place_(is_device(path_)) {
  descriptor_ = in_place_ ? ::open(path_.c_str(), O_WRONLY | O_CLOEXEC)
                          : ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("cannot create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!done_ && !in_place_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes) {
    const ssize_t wrote = ::write(descriptor_, p, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("cannot write");
    p += wrote;
    bytes -= static_cast<std::size_t>(wrote);
  }
}

// A second name for the old file first, so that there is no moment without a file of the first name.
void AtomicFile::keep(const std::string& previous) const {
  const std::string link = previous + mark + std::to_string(::getpid());
  ::unlink(link.c_str());
  if (::link(path_.c_str(), link.c_str()) == 0) {
    // Renaming one name of a file to another of its names does nothing, and leaves both.
    const bool renamed = std::rename(link.c_str(), previous.c_str()) == 0;
    const int reason = errno;
    ::unlink(link.c_str());
    errno = reason;
    if (!renamed) fail("cannot keep the file before");
  } else if (errno != ENOENT && std::rename(path_.c_str(), previous.c_str()) != 0) {
    fail("cannot keep the file before");
  }
}

void AtomicFile::commit(const std::string& previous) {
  if (in_place_) {
    if (::close(std::exchange(descriptor_, -1)) != 0) fail("cannot close");
    return;
  }
  if (::fsync(descriptor_) != 0) fail("cannot flush");
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("cannot close");
  if (!previous.empty()) keep(previous);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename");
  done_ = true;
  const std::filesystem::path parent = std::filesystem::path(path_).parent_path();
  const int folder = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // a folder that may be written but not read
  const int flushed = ::fsync(folder), reason = errno;
  ::close(folder);
  errno = reason;
  if (flushed != 0 && reason != EINVAL)
    fail("cannot flush the folder of");  // EINVAL: it has nothing to flush
}

void AtomicFile::fail(const char* what) const {
  throw std::runtime_error(std::string("[file] ") + what + " " + path_ + ": " + std::strerror(errno));
}

void write_file_atomically(const std::string& path, const std::string& contents) {
  AtomicFile out(path);
  out.write(contents.data(), contents.size());
  out.commit();
}

bool is_temporary_name(const std::string& name) {
  const std::size_t at = name.rfind(mark);
  if (at == std::string::npos || at + 4 == name.size()) return false;
  return name.find_first_not_of("0123456789", at + 4) == std::string::npos;
}

}  // namespace rtfq
