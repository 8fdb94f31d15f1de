#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/log_line.h"
#include "tests/support/pattern.h"
#include "tests/support/process.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// For waits that may take long on a busy machine: a name that no server knows, or thousands of
/// connections.
inline constexpr std::chrono::seconds kLate{120};

/// A daemon that ended by itself.
struct Outcome {
  int status = 0;
  std::string output;
  std::string error;
};
/// Runs the daemon to its end; throws if it does not end.
[[nodiscard]] Outcome run_to_end(std::vector<std::string> arguments,
                                 const ProcessOptions& options = {});
/// The daemon must end with `status` and exactly one line on stderr that contains all of `words`.
/// Empty if it does, else the problem.
[[nodiscard]] std::string refusal(const std::vector<std::string>& arguments, int status,
                                  const std::vector<std::string>& words,
                                  const ProcessOptions& options = {});

/// Looks names up once and briefly, whatever resolver the machine has.
[[nodiscard]] ProcessOptions brief_lookups();

/// The lines of a text, without their ends.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// The last line of a log that contains `word`; empty if there is none.
[[nodiscard]] std::string line_of(std::string_view log, std::string_view word);
/// The daemon's current counters, from the `stats` line that SIGUSR1 prints.
[[nodiscard]] LogFields counters_of(Daemon& daemon);

/// Sends `size_bytes` of the pattern from one end while the other receives. Empty if all arrived
/// intact, else the problem.
[[nodiscard]] std::string transfer(int from, int to, Pattern pattern, std::uint64_t size_bytes);
/// One byte there and back through an echo; false if it does not come back in time.
[[nodiscard]] bool echoes(int fd, std::chrono::nanoseconds timeout = kLate);

/// The ending of a connection from which no more bytes are expected.
[[nodiscard]] Ending ending_of(int fd);

/// Sends bytes on a thread of its own, one each 10 ms, until all are sent or the connection ends.
class Drip {
 public:
  Drip(int fd, std::string bytes);
  /// How the connection ends. A socket reports a reset once, to the thread that uses it first,
  /// which may be the one that sends.
  [[nodiscard]] Ending ending();

 private:
  int fd_;
  std::string bytes_;
  std::atomic<bool> was_reset_ = false;
  std::jthread sender_;
};

/// True if this machine can listen on ::1.
[[nodiscard]] bool has_ipv6();
/// The daemon's program in a folder that every user can reach. No other process maps its pages.
[[nodiscard]] std::string copy_of_daemon(const TempDir& folder);

}  // namespace sluice::test
