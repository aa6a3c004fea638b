// Files that are written whole, and what is no file.
#include "engine/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

using namespace rtfq;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rtfq-atomic-file-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

}  // namespace

TEST_CASE("atomic file: a device stays one, and a pipe is written to") {
  const Folder folder;
  // Whoever may write to /dev would have it replaced by a file.
  fs::create_symlink("/dev/null", folder.file("nothing"));
  write_file_atomically(folder.file("nothing"), "lost");
  CHECK(fs::is_symlink(folder.file("nothing")));
  CHECK(fs::is_character_file("/dev/null"));

  const std::string pipe = folder.file("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  write_file_atomically(pipe, "through");
  char text[16] = {};
  CHECK(::read(reader, text, sizeof text - 1) == 7);
  CHECK(std::string(text) == "through");
  ::close(reader);
  CHECK(fs::is_fifo(pipe));
  CHECK(folder.entries() == 2);
}

TEST_CASE("atomic file: a folder in its place is said, and nothing is left") {
  const Folder folder;
  fs::create_directory(folder.file("folder"));
  CHECK_THROWS_WITH(write_file_atomically(folder.file("folder"), "text"), Catch::Contains("directory"));
  CHECK(folder.entries() == 1);
}
