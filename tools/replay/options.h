#pragma once

#include <string>
#include <vector>

#include "iolib/capture/filter.h"
#include "tools/replay/connection.h"
#include "tools/replay/replayer.h"

namespace sluice::replay {

/// The file name that stands for stdout.
inline constexpr const char* kStdout = "-";

/// The parsed command line.
struct Invocation {
  std::vector<std::string> paths;
  std::string to;
  Settings settings;  ///< except `to`, which is not yet resolved
  Pace pace;
  capture::Filter filter;
  std::string json;
  std::string html;
  std::string command;  ///< the command line, for the report
  bool exits = false;   ///< the program ends at once, with `exit_status`
  int exit_status = 0;
  std::string message = {};  ///< goes to stdout if `exit_status` is 0, else to stderr
};

/// Parses the command line. An error sets `exits`, `exit_status` and `message`.
[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

/// Parses "1x", "0.5x" or "max" (which is 0). Throws Wrong.
[[nodiscard]] double speed_of(const std::string& text);
/// Parses ranges such as "353+8" or "353". Returns them ordered, with touching ranges joined.
/// Throws Wrong.
[[nodiscard]] std::vector<Ignored> ignored_of(const std::vector<std::string>& texts);

}  // namespace sluice::replay
