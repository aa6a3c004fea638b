#include "data/prepared_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "data/hash.h"
#include "engine/sha256.h"

namespace rtfq::data {
namespace fs = std::filesystem;

/// One image in the file. `height` 0: it could not be read, and the bytes are the error.
struct PreparedCache::Entry {
  uint64_t offset = 0, bytes = 0, checksum = 0;
  uint64_t source_size = 0;
  int64_t source_time = 0;  ///< nanoseconds
  uint32_t height = 0, width = 0;
};

namespace {

/// Raised whenever the bytes that prepare_file makes of a file change.
constexpr uint32_t version = 1;

struct Header {
  char magic[8] = {'R', 'T', 'F', 'Q', 'I', 'M', 'G', '\n'};
  uint32_t version = 0, channels = 0;
  uint64_t count = 0, size = 0;  ///< images; bytes of the whole file
  uint64_t index_checksum = 0;
};

/// A descriptor that is closed.
class File {
 public:
  File(const std::string& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (number_ >= 0) ::close(number_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

void write_at(int file, const void* data, size_t size, uint64_t offset) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = ::pwrite(file, bytes, size, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw std::runtime_error(done < 0 ? std::strerror(errno) : "nothing was written");
    bytes += done;
    offset += static_cast<uint64_t>(done);
    size -= static_cast<size_t>(done);
  }
}

/// Size and time of a source file; zeros where it is not there.
std::pair<uint64_t, int64_t> stamp(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {0, 0};
  return {static_cast<uint64_t>(status.st_size),
          int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::string name_of(const std::vector<Sample>& samples, const Preparation& p) {
  std::string text = "version " + std::to_string(version) + ", channels " + std::to_string(p.channels) +
                     ", jpeg " + jpeg_decoder(p.decoding) + ", exif " + std::to_string(p.decoding.exif) +
                     "\n";
  if (resizes_first(p.augmentation))
    text += "resize " + std::to_string(p.augmentation.resize) + (p.augmentation.squash ? " squash" : "") +
            (p.augmentation.bicubic ? " bicubic" : "") + "\n";
  for (const Sample& sample : samples) text += fs::absolute(sample.path).lexically_normal().string() + "\n";
  return sha256(text.data(), text.size()).substr(0, 24);
}

}  // namespace

Image prepare_file(const std::string& path, const Preparation& p) {
  return standardize(load_image(path, p.channels, p.decoding), p.augmentation);
}

/// Decodes what is missing with some threads, each appending to a temporary file.
class CacheBuilder {
 public:
  CacheBuilder(const std::vector<Sample>& samples, const Preparation& preparation, const std::string& path,
               const PreparedCache* before)
      : samples_(samples),
        preparation_(preparation),
        temporary_(path + ".tmp" + std::to_string(::getpid())),
        path_(path),
        before_(before),
        file_(temporary_, O_RDWR | O_CREAT | O_TRUNC),
        entries_(samples.size()) {
    if (file_.number() < 0) throw std::runtime_error(std::strerror(errno));
    end_ = sizeof(Header) + entries_.size() * sizeof(PreparedCache::Entry);
  }
  ~CacheBuilder() { ::unlink(temporary_.c_str()); }

  /// `say` hears now and then how far it is.
  void build(int threads, const std::function<void(size_t done)>& say) {
    std::vector<std::thread> workers;
    for (int i = 1; i < threads; ++i) workers.emplace_back([this] { work({}); });
    work(say);
    for (std::thread& worker : workers) worker.join();
    if (!error_.empty()) throw std::runtime_error(error_);
    Header header;
    header.version = version;
    header.channels = static_cast<uint32_t>(preparation_.channels);
    header.count = entries_.size();
    header.size = end_;
    const size_t index = entries_.size() * sizeof(PreparedCache::Entry);
    header.index_checksum = checksum(entries_.data(), index);
    write_at(file_.number(), entries_.data(), index, sizeof header);
    write_at(file_.number(), &header, sizeof header, 0);
    if (::fsync(file_.number()) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0)
      throw std::runtime_error(std::strerror(errno));
  }

  size_t copied() const { return copied_; }

 private:
  void work(const std::function<void(size_t)>& say) {
    auto told = std::chrono::steady_clock::now();
    for (size_t i = next_++; i < samples_.size() && !stop_; i = next_++) {
      try {
        make(i);
      } catch (const std::exception& error) {
        const std::lock_guard lock(mutex_);
        if (error_.empty()) error_ = error.what();
        stop_ = true;
      }
      if (!say || std::chrono::steady_clock::now() - told < std::chrono::seconds(10)) continue;
      told = std::chrono::steady_clock::now();
      say(i);
    }
  }

  void make(size_t i) {
    PreparedCache::Entry entry;
    std::tie(entry.source_size, entry.source_time) = stamp(samples_[i].path);
    if (copy(i, entry)) return;
    Image image;
    std::string error;
    try {
      image = prepare_file(samples_[i].path, preparation_);
    } catch (const std::runtime_error& bad) {
      error = bad.what();
    }
    entry.height = static_cast<uint32_t>(image.height);
    entry.width = static_cast<uint32_t>(image.width);
    if (error.empty())
      append(i, entry, image.pixels.data(), image.pixels.size());
    else
      append(i, entry, error.data(), error.size());
  }

  /// Takes an image whose file has not changed from the cache that was there.
  bool copy(size_t i, PreparedCache::Entry entry) {
    if (!before_ || i >= before_->entries_.size()) return false;
    const PreparedCache::Entry& old = before_->entries_[i];
    if (old.source_size != entry.source_size || old.source_time != entry.source_time) return false;
    const uint8_t* bytes = before_->bytes_ + old.offset;
    if (checksum(bytes, old.bytes) != old.checksum) return false;
    entry.height = old.height;
    entry.width = old.width;
    append(i, entry, bytes, old.bytes);
    ++copied_;
    return true;
  }

  void append(size_t i, PreparedCache::Entry& entry, const void* bytes, size_t size) {
    entry.bytes = size;
    entry.checksum = checksum(bytes, size);
    {
      const std::lock_guard lock(mutex_);
      entry.offset = end_;
      end_ += size;
    }
    write_at(file_.number(), bytes, size, entry.offset);
    entries_[i] = entry;
  }

  const std::vector<Sample>& samples_;
  const Preparation& preparation_;
  const std::string temporary_, path_;
  const PreparedCache* before_;
  const File file_;
  std::vector<PreparedCache::Entry> entries_;
  std::mutex mutex_;
  uint64_t end_ = 0;
  std::string error_;
  std::atomic<size_t> next_{0}, copied_{0};
  std::atomic<bool> stop_{false};
};

PreparedCache::PreparedCache(std::string path, int channels, Say say)
    : path_(std::move(path)), channels_(channels), say_(std::move(say)) {}

PreparedCache::~PreparedCache() {
  if (bytes_) ::munmap(const_cast<uint8_t*>(bytes_), size_);
}

/// Maps the file that is there. False, with the reason in `why`, where it cannot be used at all; `why` alone
/// is filled where images have changed since.
bool PreparedCache::map(const std::vector<Sample>& samples, std::string* why) {
  const auto unusable = [&](const std::string& reason) {
    *why = reason;
    return false;
  };
  const File file(path_, O_RDONLY);
  struct stat status {};
  if (file.number() < 0 || ::fstat(file.number(), &status) != 0) return unusable(std::strerror(errno));
  size_ = static_cast<size_t>(status.st_size);
  const size_t index = samples.size() * sizeof(Entry);
  if (size_ < sizeof(Header) + index) return unusable("it is truncated");
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.number(), 0);
  if (mapped == MAP_FAILED) return unusable(std::strerror(errno));
  bytes_ = static_cast<const uint8_t*>(mapped);
  Header header;
  std::memcpy(&header, bytes_, sizeof header);
  if (std::memcmp(header.magic, Header{}.magic, sizeof header.magic) != 0 || header.version != version ||
      header.count != samples.size() || header.channels != static_cast<uint32_t>(channels_))
    return unusable("it is of another kind");
  if (header.size != size_) return unusable("it is truncated");
  entries_ = {reinterpret_cast<const Entry*>(bytes_ + sizeof header), samples.size()};
  if (checksum(entries_.data(), index) != header.index_checksum) return unusable("its index is damaged");
  size_t changed = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Entry& entry = entries_[i];
    // The index may be whole and yet be somebody else's.
    if (entry.offset > size_ || entry.bytes > size_ - entry.offset ||
        (entry.height != 0 &&
         entry.bytes != uint64_t{entry.height} * entry.width * static_cast<uint64_t>(channels_)))
      return unusable("its index is impossible");
    changed += stamp(samples[i].path) != std::pair(entry.source_size, entry.source_time);
  }
  verified_ = std::make_unique<std::atomic<bool>[]>(samples.size());
  if (changed > 0) *why = std::to_string(changed) + " of its images have changed";
  return true;
}

std::shared_ptr<PreparedCache> PreparedCache::open(const std::string& folder, const std::string& origin,
                                                   const std::vector<Sample>& samples,
                                                   const Preparation& preparation, int threads,
                                                   const Say& say) {
  const std::string path = folder + "/" + name_of(samples, preparation) + ".images";
  const std::string what = "prepared images of " + origin;
  const auto mapped = [&](std::string* why) {
    std::shared_ptr<PreparedCache> cache(new PreparedCache(path, preparation.channels, say));
    return cache->map(samples, why) ? cache : nullptr;
  };
  try {
    fs::create_directories(folder);
    const File lock(path + ".lock", O_RDWR | O_CREAT);
    if (lock.number() < 0) throw std::runtime_error(std::strerror(errno));
    if (::flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
      say("waiting for another process that makes the " + what);
      while (::flock(lock.number(), LOCK_EX) != 0)
        if (errno != EINTR) throw std::runtime_error(std::strerror(errno));
    }
    for (const auto& entry : fs::directory_iterator(folder))  // of processes that were killed
      if (entry.path().string().starts_with(path + ".tmp")) fs::remove(entry.path());
    std::shared_ptr<PreparedCache> before;
    if (fs::exists(path)) {
      std::string why;
      before = mapped(&why);
      if (before && why.empty()) return before;
      say("the " + what + " in " + path + " are made anew: " + why);
    } else {
      say("making the " + what + ": " + std::to_string(samples.size()) + " images, in " + path);
    }
    {
      CacheBuilder builder(samples, preparation, path, before.get());
      builder.build(std::max(1, threads), [&](size_t done) {
        say(what + ": " + std::to_string(done) + " of " + std::to_string(samples.size()));
      });
      if (builder.copied() > 0)
        say(std::to_string(samples.size() - builder.copied()) + " of the " + what + " were decoded");
    }
    std::string why;
    if (auto cache = mapped(&why)) return cache;
    throw std::runtime_error(why);
  } catch (const std::exception& error) {
    say("no " + what + " in " + path + ": " + error.what() + "; images are decoded as they are needed");
    return nullptr;
  }
}

std::shared_ptr<const Image> PreparedCache::get(uint32_t index) {
  if (damaged_) return nullptr;
  const Entry& entry = entries_[index];
  const uint8_t* bytes = bytes_ + entry.offset;
  if (!verified_[index]) {
    if (checksum(bytes, entry.bytes) != entry.checksum) {
      if (!damaged_.exchange(true)) {
        say_("the prepared images in " + path_ +
             " are damaged: decoding instead; the next run makes them anew");
        ::unlink(path_.c_str());
      }
      return nullptr;
    }
    verified_[index] = true;
  }
  if (entry.height == 0)
    throw std::runtime_error(std::string(reinterpret_cast<const char*>(bytes), entry.bytes));
  auto image = std::make_shared<Image>();
  *image = {static_cast<int>(entry.height), static_cast<int>(entry.width), channels_,
            std::vector<uint8_t>(bytes, bytes + entry.bytes)};
  return image;
}

}  // namespace rtfq::data
