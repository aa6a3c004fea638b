#include "engine/formats/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace rtfq::formats {

std::vector<unsigned char> read_whole_file(const std::string& path) {
  const auto fail = [&](const char* why) {
    throw std::runtime_error("[file] cannot read " + path + ": " + why);
  };
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail("it is not a regular file");
  std::vector<unsigned char> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.number, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(std::strerror(errno));
    if (got == 0) fail("it became shorter while it was read");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

std::string shown_name(const std::string& name) {
  constexpr std::size_t most = 80;
  std::string shown;
  for (const char c : name.substr(0, most)) shown += c >= ' ' && c <= '~' ? c : '?';
  return name.size() > most ? shown + "..." : shown;
}

}  // namespace rtfq::formats
