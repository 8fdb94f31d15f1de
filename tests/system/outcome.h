#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/log_line.h"
#include "tests/support/pattern.h"
#include "tests/support/process.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// For waits that a busy machine can draw out: a name that no server knows, thousands of
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
/// The daemon has to end with `status` and exactly one line on stderr, in which all of `words` are.
/// Empty if it does, else what is wrong.
[[nodiscard]] std::string refusal(const std::vector<std::string>& arguments, int status,
                                  const std::vector<std::string>& words,
                                  const ProcessOptions& options = {});

/// To look names up once and briefly, wherever the machine's resolver may point.
[[nodiscard]] ProcessOptions brief_lookups();

/// The lines of a text, without their ends.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// The last line of a log in which `word` is; empty if there is none.
[[nodiscard]] std::string line_of(std::string_view log, std::string_view word);
/// The daemon's counters as they are now, by the `stats` line that SIGUSR1 brings.
[[nodiscard]] LogFields counters_of(Daemon& daemon);

/// Sends `size_bytes` of the pattern from one end while the other receives them. Empty if all of
/// them arrived as they were sent, else what is wrong.
[[nodiscard]] std::string transfer(int from, int to, Pattern pattern, std::uint64_t size_bytes);
/// One byte there and back through an echo; false if it does not come back in time.
[[nodiscard]] bool echoes(int fd, std::chrono::nanoseconds timeout = kLate);

/// How a connection of which nothing more is expected ends.
[[nodiscard]] Ending ending_of(int fd);

/// True if ::1 can be listened on.
[[nodiscard]] bool has_ipv6();
/// The daemon's program in a folder that every user can reach, and whose pages nobody else maps.
[[nodiscard]] std::string copy_of_daemon(const TempDir& folder);

}  // namespace sluice::test
