#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/clock.h"

namespace sluice::ctl {

/// Where the systemd unit has the daemon's unix socket.
inline constexpr const char* kDefaultSocket = "unix:/run/sluice/admin.sock";

class Client;
struct Invocation;
/// Runs a command; returns the exit status. Throws Failure.
using Run = int(const Invocation& invocation, Client& client);

/// The parsed command line.
struct Invocation {
  Run* run = nullptr;  ///< the command; null: the program ends at once, with `exit_status`
  int exit_status = 0;
  std::string message = {};              ///< goes to stdout if `exit_status` is 0, else to stderr
  std::string address = kDefaultSocket;  ///< what resolve_target() accepts
  std::string token_file = {};
  bool json = false;
  std::vector<std::string> ids = {};  ///< of connections
  std::string route = {};             ///< empty: all
  std::string server = {};
  std::string order = {};   ///< "on", "up" and so on; a log level, empty: none
  std::string sort = {};    ///< empty: the command's default
  std::uint64_t limit = 0;  ///< 0: none
  std::uint64_t count = 0;  ///< 0: without an end
  bool waits = false;       ///< for a drain
  bool dry_run = false;     ///< of a reload
  std::optional<Duration> wait_at_most = {};
};

/// Parses the command line.
[[nodiscard]] Invocation parse_command_line(int argc, const char* const* argv);

/// The address that --socket means: a path stands for a unix socket. Throws Wrong.
[[nodiscard]] std::string address_of(const std::string& text);
/// The token in a file: its only line. Throws Wrong.
[[nodiscard]] std::string token_in(const std::string& path);

}  // namespace sluice::ctl
