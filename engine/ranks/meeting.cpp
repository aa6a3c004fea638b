#include "engine/ranks/meeting.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace rtfq::ranks {
namespace {

/// A member on the wire.
struct Entry {
  char host[64] = {}, address[64] = {};
  int32_t process = 0, port = 0;
};

template <std::size_t N>
void put(char (&to)[N], const std::string& text) {
  std::memset(to, 0, N);
  std::memcpy(to, text.data(), std::min(text.size(), N - 1));
}

template <std::size_t N>
std::string get(const char (&from)[N]) {
  return {from, ::strnlen(from, N)};
}

std::string list(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("[ranks] " + what);
}

Meeting meet_as_first(const Launch& launch, Socket listener, Clock::time_point deadline) {
  Meeting meeting;
  meeting.members.resize(static_cast<std::size_t>(launch.ranks));
  meeting.control.resize(static_cast<std::size_t>(launch.ranks));
  const Hello mine = hello_of(launch, Purpose::control, port_of(listener));
  // Others know under which address they have found rank 0: theirs is empty.
  meeting.members[0] = {get(mine.host), "", mine.process, mine.port};
  for (int missing = launch.ranks - 1; missing > 0; --missing) {
    Hello hello;
    Socket socket = accept_hello(listener, launch.ranks, deadline, hello);
    if (!socket.open()) {
      std::vector<int> absent;
      for (int rank = 1; rank < launch.ranks; ++rank)
        if (!meeting.control[static_cast<std::size_t>(rank)].open()) absent.push_back(rank);
      fail("waited " + std::to_string(static_cast<int>(patience())) +
           " s, and these ranks did not come: " + list(absent) + " of " + std::to_string(launch.ranks));
    }
    const std::size_t rank = static_cast<std::size_t>(hello.rank);
    if (rank == 0 || meeting.control[rank].open())
      fail("two processes say that they are rank " + std::to_string(rank) +
           ": is another job meeting at the same port?");
    meeting.members[rank] = {get(hello.host), peer_address(socket), hello.process, hello.port};
    meeting.control[rank] = std::move(socket);
  }
  for (int rank = 1; rank < launch.ranks; ++rank)
    for (const Member& member : meeting.members) {
      Entry entry;
      put(entry.host, member.host), put(entry.address, member.address);
      entry.process = member.process, entry.port = member.port;
      if (!meeting.control[static_cast<std::size_t>(rank)].send(entry, deadline))
        fail(meeting.members[static_cast<std::size_t>(rank)].shown(rank) + " left before all had met");
    }
  meeting.listener = std::move(listener);
  return meeting;
}

Meeting meet_as_other(const Launch& launch, Clock::time_point deadline) {
  Meeting meeting;
  meeting.listener = listen_on(0, launch.ranks + 16);
  std::string error;
  Socket first = connect_before(launch.address, launch.port, deadline, error);
  const std::string where = launch.address + ":" + std::to_string(launch.port);
  if (!first.open())
    fail("rank " + std::to_string(launch.rank) + " cannot reach rank 0 at " + where + ": " + error);
  if (!first.send(hello_of(launch, Purpose::control, port_of(meeting.listener)), deadline))
    fail("rank 0 at " + where + " hung up");
  for (int rank = 0; rank < launch.ranks; ++rank) {
    Entry entry;
    if (!first.receive(entry, deadline)) fail("rank 0 at " + where + " left before all ranks had met");
    meeting.members.push_back({get(entry.host), get(entry.address), entry.process, entry.port});
  }
  meeting.members[0].address = launch.address;
  meeting.control.push_back(std::move(first));
  return meeting;
}

}  // namespace

double patience() {
  const std::string text = environment_variable("RTFQ_RANK_TIMEOUT");
  if (text.empty()) return 600;
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds >= 1 && seconds <= 1e6))
    throw std::invalid_argument("[ranks] the environment variable RTFQ_RANK_TIMEOUT is '" + text +
                                "': expected seconds, at least 1");
  return seconds;
}

Hello hello_of(const Launch& launch, Purpose purpose, int port) {
  Hello hello;
  hello.purpose = purpose;
  hello.rank = launch.rank, hello.ranks = launch.ranks;
  hello.process = ::getpid(), hello.port = port;
  ::gethostname(hello.host, sizeof hello.host - 1);
  return hello;
}

Socket accept_hello(const Socket& listener, int ranks, Clock::time_point deadline, Hello& hello) {
  for (;;) {
    Socket socket = accept_before(listener, deadline);
    if (!socket.open()) return {};
    // A stranger that connects and says nothing must not use up everybody's time.
    const auto soon = std::min(deadline, Clock::now() + std::chrono::seconds(5));
    if (socket.receive(hello, soon) && std::memcmp(hello.magic, Hello{}.magic, sizeof hello.magic) == 0 &&
        hello.version == Hello{}.version && hello.ranks == ranks && hello.rank >= 0 && hello.rank < ranks)
      return socket;
  }
}

Meeting meet(const Launch& launch, Socket listener) {
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience()));
  return launch.rank == 0 ? meet_as_first(launch, std::move(listener), deadline)
                          : meet_as_other(launch, deadline);
}

}  // namespace rtfq::ranks
