// Untrusted input to the benchmark's serving end: a Hello and the lines behind it. Also the
// workload names that load and serving end exchange.

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tools/bench/net.h"
#include "tools/bench/protocol.h"
#include "tools/bench/server.h"
#include "tools/common/endpoint.h"

using namespace sluice;
using namespace sluice::bench;

namespace {

/// The Hello that `bytes` begin with, if they are long enough.
std::optional<Hello> hello_of(std::string_view bytes) {
  Hello::Bytes hello{};
  if (bytes.size() < hello.size()) return std::nullopt;
  std::ranges::copy(bytes.substr(0, hello.size()), hello.begin());
  return decode(hello);
}

/// One serving end for all inputs.
class ServingEnd {
 public:
  ServingEnd()
      : listeners_(make_listener()),
        at_(resolve_target(local_address(listeners_.front().get()))->front()) {
    ::signal(SIGPIPE, SIG_IGN);  // as the program does: sendfile has no MSG_NOSIGNAL
  }

  /// Sends `bytes` and an end, then reads until the answer ends or exceeds 1 MiB. For a Hello of
  /// another role than `control`, begins a run first.
  void say(std::string bytes) {
    const std::optional<Hello> hello = hello_of(bytes);
    if (!hello || hello->role == Role::control) return exchange(connect(), bytes);
    Hello begins;
    begins.run = ++runs_;
    const OwnedFd control = connect();
    send_text(control.get(), encode_text(begins) + "begin {\"threads\":1}\n");
    std::array<char, 3> answer{};
    if (::recv(control.get(), answer.data(), answer.size(), MSG_WAITALL) != 3) std::abort();
    Hello joins = *hello;
    joins.run = runs_;
    exchange(connect(), encode_text(joins) + bytes.substr(Hello::kBytes));
  }

 private:
  static std::string encode_text(const Hello& hello) {
    const Hello::Bytes bytes = encode(hello);
    return {bytes.begin(), bytes.end()};
  }
  static void send_text(int fd, const std::string& text) {
    static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL));
  }
  [[nodiscard]] OwnedFd connect() const {
    OwnedFd fd = connect_to(at_);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
  }
  static void exchange(const OwnedFd& fd, const std::string& bytes) {
    constexpr std::size_t kMuch = 1 << 20;
    send_text(fd.get(), bytes);
    ::shutdown(fd.get(), SHUT_WR);
    std::size_t heard = 0;
    for (std::array<char, 4096> buffer{}; heard < kMuch;) {
      const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) std::abort();  // neither an answer nor an end
      if (got <= 0) return;
      heard += static_cast<std::size_t>(got);
    }
  }
  static std::vector<OwnedFd> make_listener() {
    auto listener = listen_at(loopback(0));
    if (!listener) std::abort();
    std::vector<OwnedFd> listeners;
    listeners.push_back(std::move(*listener));
    return listeners;
  }

  std::vector<OwnedFd> listeners_;
  Endpoint at_;
  Server server_{std::move(listeners_)};
  std::uint64_t runs_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::optional<Hello> hello = hello_of(bytes);
  if (hello && decode(encode(*hello)) != hello) std::abort();
  static_cast<void>(parse_workload(bytes));
  // The serving end waits half a minute for connections that never come.
  if (bytes.find("await") == bytes.npos) {
    static ServingEnd serving;
    serving.say(std::string(bytes));
  }
  return 0;
}
