// APPNOTE.TXT 6.3.10 (PKWARE): local header 4.3.7, central directory 4.3.12, zip64 4.3.14 and 4.5.3.
#include "engine/formats/zip.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

namespace rtfq::formats {
namespace {

constexpr uint32_t local_header = 0x04034B50, central_header = 0x02014B50, end_header = 0x06054B50,
                   zip64_end_header = 0x06064B50, zip64_locator = 0x07064B50;
constexpr uint16_t zip64_field = 1;

template <class T>
T at(Bytes bytes, std::size_t position) {
  return ByteReader(bytes, position).read<T>();
}

struct Directory {
  uint64_t entries = 0, offset = 0, size = 0;
};

/// The last end-of-central-directory record; a comment of up to 65,535 bytes may follow it.
std::size_t find_end(Bytes file) {
  constexpr std::size_t record = 22, longest_comment = 65535;
  if (file.size() < record) throw FormatError("the zip archive is cut off");
  const std::size_t first = file.size() - std::min(file.size(), record + longest_comment);
  for (std::size_t i = file.size() - record + 1; i-- > first;)
    if (at<uint32_t>(file, i) == end_header && at<uint16_t>(file, i + 20) + i + record <= file.size())
      return i;
  throw FormatError("the zip archive is cut off: it has no directory at its end");
}

Directory find_directory(Bytes file) {
  const std::size_t end = find_end(file);
  ByteReader record(file, end + 4);
  const auto disk = record.read<uint16_t>(), start_disk = record.read<uint16_t>();
  record.read<uint16_t>();  // entries on this disk
  Directory directory;
  directory.entries = record.read<uint16_t>();
  directory.size = record.read<uint32_t>();
  directory.offset = record.read<uint32_t>();
  constexpr std::size_t locator_size = 20;
  if (end >= locator_size && at<uint32_t>(file, end - locator_size) == zip64_locator) {
    ByteReader big(file, 0);
    const uint64_t where = at<uint64_t>(file, end - locator_size + 8);
    if (where > file.size()) throw FormatError("the zip archive's 64-bit directory lies outside the file");
    big.seek(static_cast<std::size_t>(where));
    if (big.read<uint32_t>() != zip64_end_header)
      throw FormatError("the zip archive's 64-bit directory is damaged");
    big.take(8 + 2 + 2 + 4 + 4 + 8);  // size, versions, disks, entries on this disk
    directory.entries = big.read<uint64_t>();
    directory.size = big.read<uint64_t>();
    directory.offset = big.read<uint64_t>();
  } else if (disk != 0 || start_disk != 0) {
    throw FormatError("the zip archive is split over several files");
  }
  if (directory.offset > file.size() || directory.size > file.size() - directory.offset)
    throw FormatError("the zip archive's directory lies outside the file");
  constexpr uint64_t smallest_entry = 46;
  if (directory.entries > directory.size / smallest_entry)
    throw FormatError("the zip archive's directory is too small for " + std::to_string(directory.entries) +
                      " entries");
  return directory;
}

/// The 64-bit values of an entry whose 32-bit fields say 0xFFFFFFFF, in their fixed order.
std::optional<ByteReader> zip64_values(Bytes extra) {
  ByteReader reader(extra);
  while (reader.left() >= 4) {
    const auto id = reader.read<uint16_t>();
    const auto size = reader.read<uint16_t>();
    const Bytes field = reader.take(size);
    if (id == zip64_field) return ByteReader(field);
  }
  return {};
}

ZipEntry read_entry(Bytes file, ByteReader& directory) {
  if (directory.read<uint32_t>() != central_header)
    throw FormatError("the zip archive's directory is damaged");
  directory.take(2 + 2);  // versions
  const auto flags = directory.read<uint16_t>(), method = directory.read<uint16_t>();
  directory.take(2 + 2);  // time and date
  const auto checksum = directory.read<uint32_t>();
  uint64_t packed = directory.read<uint32_t>(), size = directory.read<uint32_t>();
  const auto name_size = directory.read<uint16_t>(), extra_size = directory.read<uint16_t>(),
             comment_size = directory.read<uint16_t>();
  directory.take(2 + 2 + 4);  // disk and attributes
  uint64_t offset = directory.read<uint32_t>();
  ZipEntry entry{directory.text(name_size), {}, true};
  std::optional<ByteReader> big = zip64_values(directory.take(extra_size));
  directory.take(comment_size);
  const auto refuse = [&](const std::string& why) {
    throw FormatError("the zip entry " + shown_name(entry.name) + " " + why);
  };
  for (uint64_t* value : {&size, &packed, &offset})
    if (*value == 0xFFFFFFFF && big) *value = big->read<uint64_t>();
  if (flags & 1) refuse("is encrypted");
  entry.stored = method == 0;
  if (!entry.stored) return entry;
  if (packed != size) refuse("has two sizes");
  if (offset > file.size()) refuse("lies outside the file");
  ByteReader local(file, static_cast<std::size_t>(offset));
  if (local.read<uint32_t>() != local_header) refuse("has a damaged header");
  local.take(22);  // what the directory repeats
  const auto local_name = local.read<uint16_t>(), local_extra = local.read<uint16_t>();
  local.take(local_name);
  local.take(local_extra);
  if (size > local.left()) refuse("lies outside the file");
  entry.data = local.take(size);
  // torch.serialization.set_crc32_options(False) leaves the checksums out, as zeros.
  if (checksum != 0 && crc32_z(0, entry.data.data(), entry.data.size()) != checksum)
    refuse("does not match its checksum: the file is damaged");
  return entry;
}

}  // namespace

bool looks_like_zip(Bytes file) {
  if (file.size() < 4) return false;
  const auto magic = at<uint32_t>(file, 0);
  return magic == local_header || magic == end_header;
}

std::vector<ZipEntry> read_zip(Bytes file) {
  const Directory directory = find_directory(file);
  ByteReader reader(file.first(static_cast<std::size_t>(directory.offset + directory.size)),
                    static_cast<std::size_t>(directory.offset));
  std::vector<ZipEntry> entries;
  uint64_t described = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    entries.push_back(read_entry(file, reader));
    described += entries.back().data.size();
    // Many entries over the same bytes could ask for any amount of work.
    if (described > file.size()) throw FormatError("entries of the zip archive overlap");
  }
  return entries;
}

}  // namespace rtfq::formats
