#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/compare.h"
#include "tools/bench/net.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

/// As a file name: stdout for output, stdin for input.
inline constexpr const char* kStdout = "-";

/// Where the results go.
struct Output {
  std::string json = {};  ///< output files; empty: none
  std::string html = {};
  std::string markdown = {};
  std::string baseline = {};  ///< an earlier document to compare with
};

/// The options of `load`.
struct LoadCommand {
  std::string to;
  std::vector<Workload> workloads;
  std::size_t rounds = 1;
  double seconds = 3;
  double warmup_seconds = 0.3;
  std::size_t threads = 0;
  std::uint64_t verify_bytes = 0;
  bool verify_all = false;
  pid_t path = 0;
};

/// The parsed command line.
struct Invocation {
  enum class Action { compare, serve, load, report, exit };
  Action action = Action::exit;
  CompareOptions compare = {};
  bool syscalls = false;  ///< for `compare`: count system calls
  LoadCommand load = {};
  std::string listen = {};
  std::string from = {};  ///< for `report`: the document
  Output output = {};
  int exit_status = 0;       ///< for `exit`
  std::string message = {};  ///< for `exit`: goes to stdout if the status is 0, else to stderr
};

/// Parses the command line. An error becomes Action::exit with its message.
[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

}  // namespace sluice::bench
