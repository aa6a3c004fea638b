// NCCL, opened at run time as NVIDIA's other libraries are. Compiled and linked; no GPU has run it.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>

#include "kernels/runtime/library.h"
#include "kernels/runtime/collective.h"

namespace rtfq::kernels::runtime {
namespace {

const Library& nccl() {
  static const Library library({"libnccl.so.2", "libnccl.so"}, "nccl");
  return library;
}

/// `communicator`: of which NCCL knows more; null: none yet.
void check(ncclResult_t result, const char* what, ncclComm_t communicator = nullptr) {
  if (result == ncclSuccess) return;
  std::string text = std::string("[nccl] ") + what + ": " + RTFQ_CALL(nccl(), ncclGetErrorString)(result);
  const char* more = RTFQ_CALL(nccl(), ncclGetLastError)(communicator);
  if (more && *more) text += std::string(" (") + more + ")";
  throw std::runtime_error(text + "; NCCL_DEBUG=INFO has NCCL say more");
}

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("[nccl] ") + what + ": " + cudaGetErrorString(error));
}

class Nccl final : public Collective {
 public:
  Nccl(Device device, const NcclId& id, int rank, int ranks) : device_(device) {
    static_assert(sizeof(ncclUniqueId) == sizeof id.bytes);
    ncclUniqueId theirs;
    std::memcpy(&theirs, id.bytes.data(), sizeof theirs);
    check(cudaSetDevice(device_.index), "selecting the device");
    check(RTFQ_CALL(nccl(), ncclCommInitRank)(&communicator_, ranks, theirs, rank), "joining the ranks");
  }
  /// Where another rank is gone a communicator cannot be taken down in an orderly way; the process is ending
  /// anyway, so that nothing waits for it.
  ~Nccl() override {
    if (communicator_) RTFQ_CALL(nccl(), ncclCommAbort)(communicator_);
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  void sum(std::span<const Floats> all, Stream stream) override {
    check(cudaSetDevice(device_.index), "selecting the device");
    const auto start = RTFQ_CALL(nccl(), ncclGroupStart), end = RTFQ_CALL(nccl(), ncclGroupEnd);
    // One launch for some hundreds of spans at most, which NCCL's queue takes.
    for (; !all.empty(); all = all.subspan(std::min(all.size(), at_once))) {
      check(start(), "beginning a group", communicator_);
      try {
        for (const Floats& floats : all.first(std::min(all.size(), at_once)))
          add(floats.at, floats.count, ncclFloat, stream);
      } catch (...) {
        end();
        throw;
      }
      check(end(), "a group of sums", communicator_);
    }
  }

  void sum(double* values, std::size_t count, Stream stream) override {
    check(cudaSetDevice(device_.index), "selecting the device");
    add(values, count, ncclDouble, stream);
  }

  std::string name() const override {
    int version = 0;
    check(RTFQ_CALL(nccl(), ncclGetVersion)(&version), "asking for the version");
    return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }

 private:
  static constexpr std::size_t at_once = 256;

  void add(void* values, std::size_t count, ncclDataType_t type, Stream stream) {
    if (count > 0)
      check(RTFQ_CALL(nccl(), ncclAllReduce)(values, values, count, type, ncclSum, communicator_,
                                             static_cast<cudaStream_t>(stream.handle)),
            "a sum", communicator_);
  }

  Device device_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::string nccl_missing() {
  return nccl().missing();
}

NcclId make_nccl_id() {
  ncclUniqueId made;
  check(RTFQ_CALL(nccl(), ncclGetUniqueId)(&made), "making an id for the ranks");
  NcclId id;
  std::memcpy(id.bytes.data(), &made, sizeof made);
  return id;
}

std::unique_ptr<Collective> make_nccl(Device device, const NcclId& id, int rank, int ranks) {
  return std::make_unique<Nccl>(device, id, rank, ranks);
}

}  // namespace rtfq::kernels::runtime
