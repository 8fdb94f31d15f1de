#pragma once

#include <string>
#include <vector>

#include "iolib/capture/filter.h"
#include "tools/replay/connection.h"
#include "tools/replay/replayer.h"

namespace sluice::replay {

/// The file that stands for stdout.
inline constexpr const char* kStdout = "-";

/// What the command line asks for.
struct Invocation {
  std::vector<std::string> paths;
  std::string to;
  Settings settings;  ///< but for the resolved target
  Pace pace;
  capture::Filter filter;
  std::string json;
  std::string html;
  std::string command;  ///< as it was typed
  bool exits = false;   ///< at once, with ...
  int exit_status = 0;
  std::string message = {};  ///< ... and this text, on stdout if the status is 0
};

[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

/// "1x", "0.5x", "max" (0). Throws Wrong.
[[nodiscard]] double speed_of(const std::string& text);
/// "353+8" and the like, ordered and joined where they touch. Throws Wrong.
[[nodiscard]] std::vector<Ignored> ignored_of(const std::vector<std::string>& texts);

}  // namespace sluice::replay
