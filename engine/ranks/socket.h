#pragma once
// TCP sockets with deadlines.

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace rtfq::ranks {

using Clock = std::chrono::steady_clock;

/// A connection or a listener, closed at the end. Errors are thrown as std::runtime_error.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int number) : number_(number) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }
  bool open() const { return number_ >= 0; }
  void close();

  /// All bytes, before the deadline; false where the other side is gone or the time is over.
  bool send_all(const void* data, std::size_t bytes, Clock::time_point deadline) const;
  bool receive_all(void* data, std::size_t bytes, Clock::time_point deadline) const;
  template <class T>
  bool send(const T& value, Clock::time_point deadline) const {
    return send_all(&value, sizeof value, deadline);
  }
  template <class T>
  bool receive(T& value, Clock::time_point deadline) const {
    return receive_all(&value, sizeof value, deadline);
  }

 private:
  int number_ = -1;
};

/// Listens on all interfaces; port 0: any free one.
Socket listen_on(int port, int backlog);
int port_of(const Socket& listener);
/// The next connection before the deadline; not open when the time is over.
Socket accept_before(const Socket& listener, Clock::time_point deadline);
/// Tries again until somebody listens there or the time is over; then it is not open and `error` says why.
Socket connect_before(const std::string& host, int port, Clock::time_point deadline, std::string& error);
/// The other side's address, as text.
std::string peer_address(const Socket&);

}  // namespace rtfq::ranks
