#pragma once
// A problem in the memory of a device: its buffers with their guard zones, and arguments that point there.
// References and comparisons stay on the host.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/runtime/device.h"

namespace rtfq::kernels::catalog {

class Buffer;

/// Which GPU the catalog's problems run on; 0 at first.
void use_cuda_device(int index);
Device device_of(Backend);
/// Whether problems lie in memory of the device's own: always on cuda, never on the cpu; on simt when asked
/// for.
bool mirrored(Backend);
void mirror_simt(bool);
/// Device buffers end where their contents do, workspaces and packed weights start unwritten: for tools that
/// watch every access themselves (compute-sanitizer). Guard zones are then not checked on the device.
void exact_device_memory(bool);

/// Memory that arguments point to and that launches read on the host: a table of tensors, whose addresses are
/// the device's.
using Table = std::span<const std::byte>;

class Mirror {
 public:
  explicit Mirror(Device device) : device_(device) {}
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;
  ~Mirror();

  enum class Kind { operand, scratch };
  /// The buffer, which must outlive this, has memory of its own from now on; `scratch` is what only launches
  /// use.
  void add(Buffer&, Kind);
  /// To the device, and back.
  void upload();
  void download();
  /// Where the device has what lies at `host`; nullptr for nullptr. Throws std::logic_error for memory of
  /// nobody.
  void* at(const void* host) const;
  /// `bytes` bytes of arguments whose words that are addresses of buffers, of this or the other, or of tables
  /// become the device's. Every other word stays as it is: it may be a number, or bytes between members that
  /// nobody wrote.
  void translate(void* arguments, std::size_t bytes, const std::vector<Table>& tables, const Mirror* other);

  Device device() const { return device_; }

 private:
  struct Place {
    Buffer* buffer;
    Kind kind;
    std::byte* memory;  ///< of the device, at the beginning of the guard zone
    std::size_t before, total;
  };
  const Place* place_of(const void* host) const;

  Device device_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<std::byte[]>> tables_;
};

}  // namespace rtfq::kernels::catalog
