// What comes to the benchmark's serving end from strangers: a Hello and the lines behind it. And
// the names of workloads, which load and serving end tell each other.

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <utility>

#include "iolib/base/endpoint.h"
#include "tools/bench/net.h"
#include "tools/bench/protocol.h"
#include "tools/bench/server.h"

using namespace sluice;
using namespace sluice::bench;

namespace {

void check_hello(std::string_view bytes) {
  Hello::Bytes hello{};
  std::ranges::copy(bytes.substr(0, hello.size()), hello.begin());
  const auto decoded = decode(hello);
  if (decoded && decode(encode(*decoded)) != decoded) std::abort();
}

/// A serving end, for all inputs.
class ServingEnd {
 public:
  ServingEnd() : listener_(make_listener()), at_(loopback(port_of(listener_.get()))) {}

  /// Says `bytes` and no more, and reads what comes back until it ends or is much.
  void say(std::string_view bytes) {
    constexpr std::size_t kMuch = 1 << 20;
    const OwnedFd fd = connect_to(at_);
    // A reset: thousands of ports would be left in TIME_WAIT.
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    static_cast<void>(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    ::shutdown(fd.get(), SHUT_WR);
    std::size_t heard = 0;
    for (std::array<char, 4096> buffer{}; heard < kMuch;) {
      const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) std::abort();  // neither an answer nor an end
      if (got <= 0) return;
      heard += static_cast<std::size_t>(got);
    }
  }

 private:
  static OwnedFd make_listener() {
    auto listener = listen_at(loopback(0));
    if (!listener) std::abort();
    return std::move(*listener);
  }
  static std::uint16_t port_of(int fd) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) std::abort();
    return ntohs(address.sin_port);
  }

  OwnedFd listener_;
  Endpoint at_;
  Server server_{std::move(listener_)};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_hello(bytes);
  static_cast<void>(parse_workload(bytes));
  // It waits half a minute for connections that never come.
  if (bytes.find("await") == bytes.npos) {
    static ServingEnd serving;
    serving.say(bytes);
  }
  return 0;
}
