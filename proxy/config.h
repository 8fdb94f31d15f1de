#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"

namespace sluice {

enum class Engine { automatic, uring, epoll };
enum class ZeroCopy { automatic, always, never };
enum class Congestion { automatic, system };
enum class LogFormat { text, json };
enum class LogLevel { trace, debug, info, warn, error, off };

/// Which CPUs the workers are pinned to.
struct CpuAffinity {
  enum class Mode { automatic, none, list };
  Mode mode = Mode::automatic;
  std::vector<int> cpus;  ///< mode list only: "0,2-3" gives {0, 2, 3}
};

/// What one route forwards and how; every member has its default in place.
struct RouteConfig {
  std::string name;
  std::vector<ListenAddress> listen;
  TargetAddress to;
  ZeroCopy zero_copy = ZeroCopy::automatic;
  Congestion congestion = Congestion::automatic;
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds idle_timeout = std::chrono::hours(1);           ///< 0: never
  std::chrono::nanoseconds half_close_timeout = std::chrono::seconds(30);  ///< 0: never
};

/// The whole configuration, checked: nothing in it can fail later but for the machine's sake.
struct Config {
  int workers = 0;  ///< 0: one for each CPU that the process may run on
  Engine engine = Engine::automatic;
  CpuAffinity cpu_affinity;
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(30);  ///< 0: at once
  std::uint64_t max_connections = 100'000;                            ///< over all routes
  std::uint64_t pipe_size_bytes = 1 << 20;
  std::uint64_t pipe_budget_slots = 65'536;  ///< see PipePool: a slot can pin 32 KiB
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
  std::string log_file;  ///< empty: stderr
  std::vector<RouteConfig> routes;
};

/// What the command line asks for.
struct Invocation {
  enum class Action { run, check, exit };
  Action action = Action::run;
  int exit_status = 0;  ///< exit only: 0 after --help and --version, 1 a bad configuration, 2 usage
  std::string message;  ///< exit only: what to print as it is, newline and all; to stdout if
                        ///< exit_status is 0, else to stderr
  Config config;
};

/// Reads the command line and the file that it names.
[[nodiscard]] Invocation parse_command_line(int argc, const char* const* argv);

}  // namespace sluice
