#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/log_line.h"
#include "tests/support/process.h"
#include "tests/support/sockets.h"

namespace sluice::test {

/// The daemon under test: $SLUICE_BINARY.
[[nodiscard]] std::string daemon_binary();

struct DaemonOptions {
  ProcessOptions process;
  std::size_t listeners = 1;  ///< how many `listening` lines to wait for; 0: none
  std::string log_file;       ///< where the log goes, if --log-file is among the arguments
  std::string binary;         ///< empty: daemon_binary()
};

/// An address on which the daemon reports that it listens.
struct Listening {
  std::string route;
  std::string address;
  std::uint16_t port = 0;  ///< 0 for a unix socket
};

/// One running sluice, killed by the destructor.
class Daemon {
 public:
  /// Starts it and waits until it listens; throws, with its log, if it does not.
  explicit Daemon(std::vector<std::string> arguments, DaemonOptions options = {});

  [[nodiscard]] Process& process() { return process_; }
  [[nodiscard]] const std::vector<Listening>& listening() const { return listening_; }
  [[nodiscard]] std::uint16_t port(std::size_t index = 0) const {
    return listening_.at(index).port;
  }
  /// The port of the first listener of a route.
  [[nodiscard]] std::uint16_t port_of(std::string_view route) const;

  [[nodiscard]] std::string log() const;
  /// Waits until the log has a line with `pattern`; false if it does not come.
  [[nodiscard]] bool wait_for_log(const Regex& pattern,
                                  std::chrono::nanoseconds timeout = kPatience) const;
  /// Waits until `count` connections have been logged as ended; returns all that were by then.
  [[nodiscard]] std::vector<ConnectionEnd> wait_for_ends(
      std::size_t count, std::chrono::nanoseconds timeout = kPatience) const;

  /// Open descriptors, and how many of them are ends of pipes other than stdin, stdout and stderr.
  [[nodiscard]] std::size_t fd_count() const;
  [[nodiscard]] std::size_t pipe_fd_count() const;
  /// The anonymous part of its proportional set size (/proc/PID/smaps_rollup): who else maps the
  /// program and its libraries changes nothing.
  [[nodiscard]] std::uint64_t pss_bytes() const;
  /// What all its threads have had, by the scheduler's own count.
  struct Usage {
    std::chrono::nanoseconds cpu{0};
    std::uint64_t turns = 0;  ///< how often one of them was given a CPU
  };
  [[nodiscard]] Usage usage() const;
  /// Waits until it uses next to no CPU and hardly ever wakes up: it has nothing to move, does not
  /// spin, and does not ask again and again either.
  [[nodiscard]] bool wait_until_quiet(std::chrono::nanoseconds timeout = kPatience) const;

  /// SIGTERM, then its exit status; nothing if it does not end in time.
  [[nodiscard]] std::optional<int> terminate(std::chrono::nanoseconds timeout = kPatience);

 private:
  void wait_for_listeners(std::size_t count);
  void wait_for_control(std::chrono::nanoseconds timeout);

  Process process_;
  std::string log_file_;
  std::vector<Listening> listening_;
};

/// The client's and the upstream's end of one forwarded connection.
struct Forwarded {
  OwnedFd client;
  OwnedFd upstream;
};
/// Connects to `port` and accepts the daemon's connection at `upstream`. No other client may
/// connect meanwhile.
[[nodiscard]] Forwarded forward(std::uint16_t port, int upstream, SocketOptions client_options = {},
                                SocketOptions upstream_options = {});

/// "127.0.0.1:PORT".
[[nodiscard]] std::string loopback_address(std::uint16_t port);

}  // namespace sluice::test
