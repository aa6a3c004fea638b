#pragma once
// Files that are always the old one or the whole new one, whenever the machine stops.

#include <cstddef>
#include <string>

namespace rtfq {

/// Written beside `path` as PATH.tmpPROCESS, flushed to the disk and renamed by commit(), which also flushes
/// the folder. Without a commit nothing of it stays. A device or a pipe, such as /dev/null or /dev/stdout, is
/// written as it is: a file in its place would be the end of it. Throws std::runtime_error naming the file
/// and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, std::size_t bytes);
  /// The file that was there stays as `previous` unless that is empty; `path` names a whole file all the
  /// while where the file system has hard links.
  void commit(const std::string& previous = {});

 private:
  [[noreturn]] void fail(const char* what) const;
  void keep(const std::string& previous) const;

  std::string path_, temporary_;
  int descriptor_ = -1;
  bool in_place_ = false, done_ = false;
};

/// Writes text so that `path` is always the old file or the whole new one.
void write_file_atomically(const std::string& path, const std::string& contents);

/// Whether a file's name is that of an AtomicFile that was never committed.
bool is_temporary_name(const std::string& name);

}  // namespace rtfq
