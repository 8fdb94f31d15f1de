#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/filter.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// What `search` looks for: exactly one member is set.
struct Pattern {
  std::string bytes;
  std::string regex;  ///< a POSIX extended regular expression
};

struct Invocation;
/// A command: returns the exit status, or the error that ended the command.
using Run = Result<int>(const Invocation& invocation);

/// The parsed command line.
struct Invocation {
  Run* run = nullptr;  ///< null: only a message is printed
  std::vector<std::string> paths;
  bool json = false;
  bool hex = false;
  bool skip_gaps = false;
  std::optional<Side> side = {};
  Filter filter = {};
  Pattern pattern = {};
  std::string out = {};
  std::string pcapng = {};    ///< for `export`: a pcapng file
  std::string jsonl = {};     ///< for `export`: a JSON lines file
  std::size_t mtu_bytes = 0;  ///< for `export`, of the largest IP packet; 0: no limit
  std::string keylog = {};    ///< for `export`: a file of TLS secrets
  std::optional<std::chrono::nanoseconds> until_idle = {};
  int exit_status = 0;       ///< without `run`
  std::string message = {};  ///< without `run`: goes to stdout if the status is 0, else to stderr
};

/// The longest pattern of `search`.
inline constexpr std::size_t kMostPatternBytes = 4096;
/// The longest match of a regular expression that is always found whole, even across records.
inline constexpr std::size_t kMostMatchBytes = 4096;

/// Parses the command line. An error becomes a message.
[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

}  // namespace sluice::capture
