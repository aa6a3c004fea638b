#include "engine/ranks/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace rtfq::ranks {
namespace {

int milliseconds_to(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

/// False when the time is over.
bool wait_for(int number, short events, Clock::time_point deadline) {
  for (;;) {
    pollfd waiting{number, events, 0};
    const int ready = ::poll(&waiting, 1, milliseconds_to(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the call that follows says what is wrong
    if (Clock::now() >= deadline) return false;
  }
}

void prepare(int number) {
  const int on = 1;
  ::setsockopt(number, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // sums of a few bytes are waited for
  ::fcntl(number, F_SETFL, ::fcntl(number, F_GETFL) | O_NONBLOCK);
}

/// One pass of send or recv; what it returns as they do.
template <class Call>
bool transfer(std::size_t bytes, int number, short events, Clock::time_point deadline, const Call& call) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t moved = call(done);
    if (moved > 0) {
      done += static_cast<std::size_t>(moved);
      continue;
    }
    const bool wait = moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    if (!wait || !wait_for(number, events, deadline)) return false;
  }
  return true;
}

}  // namespace

void Socket::close() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

bool Socket::send_all(const void* data, std::size_t bytes, Clock::time_point deadline) const {
  const char* from = static_cast<const char*>(data);
  return transfer(bytes, number_, POLLOUT, deadline,
                  [&](std::size_t done) { return ::send(number_, from + done, bytes - done, MSG_NOSIGNAL); });
}

bool Socket::receive_all(void* data, std::size_t bytes, Clock::time_point deadline) const {
  char* to = static_cast<char*>(data);
  return transfer(bytes, number_, POLLIN, deadline,
                  [&](std::size_t done) { return ::recv(number_, to + done, bytes - done, 0); });
}

Socket listen_on(int port, int backlog) {
  Socket listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto fail = [&](const char* what) {
    throw std::runtime_error(std::string("[ranks] cannot ") + what + " port " + std::to_string(port) + ": " +
                             std::strerror(errno));
  };
  if (!listener.open()) fail("make a socket for");
  const int on = 1;
  ::setsockopt(listener.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::bind(listener.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("take");
  if (::listen(listener.number(), backlog) != 0) fail("listen on");
  ::fcntl(listener.number(), F_SETFL, ::fcntl(listener.number(), F_GETFL) | O_NONBLOCK);
  return listener;
}

int port_of(const Socket& listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener.number(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.sin_port);
}

Socket accept_before(const Socket& listener, Clock::time_point deadline) {
  for (;;) {
    if (!wait_for(listener.number(), POLLIN, deadline)) return {};
    Socket accepted(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted.open()) continue;  // it left again
    prepare(accepted.number());
    return accepted;
  }
}

Socket connect_before(const std::string& host, int port, Clock::time_point deadline, std::string& error) {
  for (;;) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (const int wrong = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)) {
      error = ::gai_strerror(wrong);
    } else {
      Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const bool connected =
          socket.open() && ::connect(socket.number(), found->ai_addr, found->ai_addrlen) == 0;
      if (!connected) error = std::strerror(errno);
      ::freeaddrinfo(found);
      if (connected) {
        prepare(socket.number());
        return socket;
      }
    }
    if (Clock::now() >= deadline) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::string peer_address(const Socket& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  char text[INET_ADDRSTRLEN] = {};
  if (::getpeername(socket.number(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      !::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text))
    return {};
  return text;
}

}  // namespace rtfq::ranks
