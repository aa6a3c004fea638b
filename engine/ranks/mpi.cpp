// MPI as a transport: point to point messages, so that sums have the same bits as over TCP, and a rank that
// waits can be ended by the monitor.
#include <mpi.h>

#include <chrono>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>

#include "engine/ranks/transport.h"

namespace rtfq::ranks {
namespace {

/// MPI counts in int.
constexpr std::size_t largest = 1u << 30;

void check(int result, const char* what) {
  if (result != MPI_SUCCESS) throw std::runtime_error(std::string("[ranks] MPI: ") + what + " failed");
}

class MpiTransport final : public Transport {
 public:
  /// A communicator of its own, so that no message of another transport can be taken for one of this.
  MpiTransport() {
    check(MPI_Comm_dup(MPI_COMM_WORLD, &communicator_), "making a communicator");
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
  }
  ~MpiTransport() override { MPI_Comm_free(&communicator_); }
  void exchange(int to, const void* out, std::size_t out_bytes, int from, void* in,
                std::size_t in_bytes) override {
    const char* source = static_cast<const char*>(out);
    char* target = static_cast<char*>(in);
    while (out_bytes > 0 || in_bytes > 0) {
      const std::size_t sent = std::min(out_bytes, largest), got = std::min(in_bytes, largest);
      MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
      if (got > 0)
        check(MPI_Irecv(target, static_cast<int>(got), MPI_BYTE, from, 0, communicator_, &requests[0]),
              "receiving");
      if (sent > 0)
        check(MPI_Isend(source, static_cast<int>(sent), MPI_BYTE, to, 0, communicator_, &requests[1]),
              "sending");
      // Long spinning takes the processor from whoever is awaited where ranks share one, so soon it is slept.
      int finished = 0;
      for (int tries = 0; !finished; ++tries) {
        check(MPI_Testall(2, requests, &finished, MPI_STATUSES_IGNORE), "waiting");
        if (!finished && tries > 200)
          std::this_thread::sleep_for(std::chrono::microseconds(tries > 2000 ? 200 : 20));
      }
      source += sent, out_bytes -= sent;
      target += got, in_bytes -= got;
    }
  }
  std::string name() const override {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    MPI_Get_library_version(text, &length);
    std::string version(text, static_cast<std::size_t>(length));
    return "MPI (" + version.substr(0, version.find(',')) + ")";
  }

 private:
  MPI_Comm communicator_ = MPI_COMM_NULL;
};

class MpiJob final : public Mpi {
 public:
  MpiJob() {
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &given_), "starting");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  }
  ~MpiJob() override { MPI_Finalize(); }
  int ranks() const override {
    int ranks = 0;
    check(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "counting the ranks");
    return ranks;
  }

  void share_address(std::string& address, int& port) override {
    char host[MPI_MAX_PROCESSOR_NAME + 1] = {};
    int length = 0;
    if (address.empty()) {
      MPI_Get_processor_name(host, &length);
    } else {
      std::strncpy(host, address.c_str(), sizeof host - 1);
    }
    check(MPI_Bcast(host, sizeof host, MPI_CHAR, 0, MPI_COMM_WORLD), "telling the address of rank 0");
    check(MPI_Bcast(&port, 1, MPI_INT, 0, MPI_COMM_WORLD), "telling the port of rank 0");
    address = host;
  }
  std::vector<std::unique_ptr<Transport>> transports(int wanted) override {
    // All ranks must see the same, also where hosts have different installations.
    int level = 0;
    check(MPI_Allreduce(&given_, &level, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD), "agreeing on threads");
    std::vector<std::unique_ptr<Transport>> all;
    for (int i = 0; i < (level >= MPI_THREAD_MULTIPLE ? wanted : 1); ++i)
      all.push_back(std::make_unique<MpiTransport>());
    return all;
  }

 private:
  int given_ = MPI_THREAD_SINGLE;
};

}  // namespace

bool has_mpi() {
  return true;
}

std::unique_ptr<Mpi> start_mpi() {
  return std::make_unique<MpiJob>();
}

}  // namespace rtfq::ranks
