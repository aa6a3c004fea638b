#include "engine/ranks/tcp.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <thread>

namespace rtfq::ranks {

TcpTransport::TcpTransport(const Launch& launch, const Meeting& meeting)
    : rank_(launch.rank),
      ranks_(launch.ranks),
      members_(meeting.members),
      star_(rank_ == 0 ? static_cast<std::size_t>(ranks_) : 1) {}

std::vector<std::unique_ptr<TcpTransport>> TcpTransport::connect(const Launch& launch, const Meeting& meeting,
                                                                 int channels) {
  const int me = launch.rank, ranks = launch.ranks;
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience()));
  const auto call = [&](int rank, Purpose purpose, int channel) {
    const Member& member = meeting.members[static_cast<std::size_t>(rank)];
    std::string error;
    Socket socket = connect_before(member.address, member.port, deadline, error);
    Hello hello = hello_of(launch, purpose, 0);
    hello.channel = channel;
    if (!socket.open() || !socket.send(hello, deadline))
      throw std::runtime_error("[ranks] cannot reach " + member.shown(rank) + " at " + member.address + ":" +
                               std::to_string(member.port) + ": " + error);
    return socket;
  };
  // A call succeeds before it is answered, so all may call first.
  std::vector<std::unique_ptr<TcpTransport>> all;
  for (int channel = 0; channel < channels; ++channel) {
    all.emplace_back(new TcpTransport(launch, meeting));
    if (me != 0) all.back()->star_[0] = call(0, Purpose::star, channel);
    all.back()->next_ = call((me + 1) % ranks, Purpose::ring, channel);
  }
  for (int expected = channels * (me == 0 ? ranks : 1); expected > 0; --expected) {
    Hello hello;
    Socket socket = accept_hello(meeting.listener, ranks, deadline, hello);
    if (!socket.open()) throw std::runtime_error("[ranks] the ranks met, but did not connect in time");
    if (hello.channel < 0 || hello.channel >= channels)
      throw std::runtime_error("[ranks] " +
                               meeting.members[static_cast<std::size_t>(hello.rank)].shown(hello.rank) +
                               " speaks of more channels than there are: do all ranks run the same rtfq?");
    TcpTransport& of = *all[static_cast<std::size_t>(hello.channel)];
    if (hello.purpose == Purpose::star && me == 0)
      of.star_[static_cast<std::size_t>(hello.rank)] = std::move(socket);
    else if (hello.purpose == Purpose::ring)
      of.before_ = std::move(socket);
  }
  return all;
}

// With two ranks the ring leads to rank 0 as well, but by connections of its own: a rank uses one of the two
// ways for the whole of a sum.
const Socket& TcpTransport::towards(int rank) const {
  if (rank_ == 0) return star_[static_cast<std::size_t>(rank)];
  return star_[0];
}

void TcpTransport::lost(int rank) const {
  // The monitor knows better who has gone, and ends this process while it waits here.
  std::this_thread::sleep_for(std::chrono::seconds(5));
  throw std::runtime_error("[ranks] the connection to " +
                           members_[static_cast<std::size_t>(rank)].shown(rank) + " is lost");
}

void TcpTransport::exchange(int to, const void* out, std::size_t out_bytes, int from, void* in,
                            std::size_t in_bytes) {
  // Both directions at once: the ring. One alone: between rank 0 and another.
  const bool ring = out_bytes > 0 && in_bytes > 0;
  const int sender = (ring ? next_ : towards(to)).number(),
            receiver = (ring ? before_ : towards(from)).number();
  const char* source = static_cast<const char*>(out);
  char* target = static_cast<char*>(in);
  const auto would_block = [] { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; };
  while (out_bytes > 0 || in_bytes > 0) {
    bool moved = false;
    if (out_bytes > 0) {
      const ssize_t sent = ::send(sender, source, out_bytes, MSG_NOSIGNAL);
      if (sent < 0 && !would_block()) lost(to);
      if (sent > 0) source += sent, out_bytes -= static_cast<std::size_t>(sent), moved = true;
    }
    if (in_bytes > 0) {
      const ssize_t got = ::recv(receiver, target, in_bytes, 0);
      if (got == 0 || (got < 0 && !would_block())) lost(from);
      if (got > 0) target += got, in_bytes -= static_cast<std::size_t>(got), moved = true;
    }
    if (moved) continue;
    pollfd waiting[2] = {{out_bytes > 0 ? sender : -1, POLLOUT, 0},
                         {in_bytes > 0 ? receiver : -1, POLLIN, 0}};
    ::poll(waiting, 2, 1000);  // how long this may last is the monitor's to judge
  }
}

}  // namespace rtfq::ranks
