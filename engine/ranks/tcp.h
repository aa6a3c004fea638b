#pragma once
#include <memory>
#include <vector>

#include "engine/ranks/meeting.h"
#include "engine/ranks/transport.h"

namespace rtfq::ranks {

/// Connections of their own for data: between rank 0 and each other one, and round the ring.
class TcpTransport final : public Transport {
 public:
  /// So many at a time, each with its own connections, which other threads may use at the same time.
  static std::vector<std::unique_ptr<TcpTransport>> connect(const Launch&, const Meeting&, int channels);
  void exchange(int to, const void* out, std::size_t out_bytes, int from, void* in,
                std::size_t in_bytes) override;
  std::string name() const override { return "TCP"; }

 private:
  TcpTransport(const Launch&, const Meeting&);
  const Socket& towards(int rank) const;
  [[noreturn]] void lost(int rank) const;

  int rank_, ranks_;
  std::vector<Member> members_;
  std::vector<Socket> star_;  ///< rank 0: by rank; others: the one to rank 0
  Socket next_, before_;      ///< in the ring
};

}  // namespace rtfq::ranks
