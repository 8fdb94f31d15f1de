#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/compare.h"
#include "tools/bench/net.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

/// As the name of a file: stdout, or stdin where it is read.
inline constexpr const char* kStdout = "-";

struct Output {
  std::string json = {};  ///< files to write; empty: none
  std::string html = {};
  std::string markdown = {};
  std::string baseline = {};  ///< a document to compare with
};

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

/// What the command line asks for.
struct Invocation {
  enum class Action { compare, serve, load, report, exit };
  Action action = Action::exit;
  CompareOptions compare = {};
  LoadCommand load = {};
  std::string listen = {};
  std::string from = {};  ///< report: the document
  Output output = {};
  int exit_status = 0;       ///< exit: with this ...
  std::string message = {};  ///< ... and this text, on stdout if the status is 0
};

[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

}  // namespace sluice::bench
