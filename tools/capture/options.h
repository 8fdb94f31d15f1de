#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "iolib/capture/filter.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// What `search` looks for: one of the two.
struct Pattern {
  std::string bytes;
  std::string regex;  ///< extended, POSIX
};

/// What the command line asks for.
struct Invocation {
  enum class Command {
    ls,
    stat,
    cat,
    show,
    follow,
    extract,
    exports,
    search,
    verify,
    recover,
    exit
  };
  Command command = Command::exit;
  std::vector<std::string> paths;
  bool json = false;
  bool hex = false;
  bool skip_gaps = false;
  std::optional<Side> side = {};
  Filter filter = {};
  Pattern pattern = {};
  std::string out = {};
  std::string pcapng = {};  ///< export: to this file ...
  std::string jsonl = {};   ///< ... or to this one
  std::optional<std::chrono::nanoseconds> until_idle = {};
  int exit_status = 0;       ///< exit: with this ...
  std::string message = {};  ///< ... and this text, on stdout if the status is 0
};

/// A pattern of `search` is no longer than this.
inline constexpr std::size_t kMostPatternBytes = 4096;
/// A match of a regular expression across records is found whole up to this length.
inline constexpr std::size_t kMostMatchBytes = 4096;

[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

}  // namespace sluice::capture
