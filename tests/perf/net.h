#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::perf {

/// A run that is void: a connection that failed, a byte that changed, a count that differs.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws a Failure naming the call and what errno says.
[[noreturn]] void fail_errno(const std::string& call);

/// Listens on 127.0.0.1:`port` (0: the kernel chooses), non-blocking.
OwnedFd listen_on(std::uint16_t port);

/// The port a socket is bound to.
std::uint16_t local_port(int fd);

/// Connects to 127.0.0.1:`port`, blocking, with TCP_NODELAY. `source` is the address to come from
/// in host order, 0 for any; its port is chosen at connect, so that every source address has the
/// whole range of ports to each target (ip(7), IP_BIND_ADDRESS_NO_PORT).
OwnedFd connect_to(std::uint16_t port, std::uint32_t source = 0);

/// Takes one queued connection, non-blocking with TCP_NODELAY; holds nothing if none is queued.
OwnedFd accept_queued(int listener);

void set_nonblocking(int fd);

/// Both ends of connections that go through whatever listens on the target port.
struct Pairs {
  std::vector<OwnedFd> clients;
  std::vector<OwnedFd> backends;
};

/// Opens `count` connections to `port`, each awaited at `listener`; all non-blocking.
Pairs connect_pairs(int listener, std::uint16_t port, std::size_t count);

/// How long a thread may wait before it looks at the run's phase again.
constexpr int kTickMs = 100;

/// Sends what the socket takes without waiting, maybe nothing; `who` begins a Failure's reason.
std::size_t send_some(int fd, const char* data, std::size_t size, const char* who);

/// The outcome of one receive: bytes, or that there were none yet, or the end of the stream.
struct Received {
  std::size_t bytes = 0;
  bool ended = false;
};

Received receive_some(int fd, char* data, std::size_t size, const char* who);

/// A level-triggered epoll instance whose events carry an index.
class Epoll {
 public:
  Epoll();
  void add(int fd, std::uint32_t events, std::uint64_t index);
  void modify(int fd, std::uint32_t events, std::uint64_t index);
  /// Waits at most `timeout_ms`; the events are valid until the next call.
  struct Events {
    const epoll_event* first;
    const epoll_event* last;
    [[nodiscard]] const epoll_event* begin() const { return first; }
    [[nodiscard]] const epoll_event* end() const { return last; }
  };
  Events wait(int timeout_ms);

 private:
  OwnedFd fd_;
  std::vector<epoll_event> events_;
};

}  // namespace sluice::perf
