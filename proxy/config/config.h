#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "iolib/capture/policy.h"
#include "iolib/mirror/mirror.h"
#include "iolib/mirror/sample.h"
#include "proxy/config/listen_set.h"

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

/// What is recorded when the buffers are full; automatic: as the durability suggests.
enum class CaptureFull { automatic, block, drop, close };
/// How the capture is written: past the page cache where that is possible, or through it.
enum class CaptureIo { automatic, buffered };
/// Whose bytes are recorded.
enum class CaptureDirection { both, client, upstream };

/// How a directory is recorded to: the same for all routes that share it.
struct CaptureConfig {
  std::string capture;  ///< the directory; empty: nothing is recorded
  capture::Durability durability = capture::Durability::batch;
  CaptureFull capture_full = CaptureFull::automatic;
  bool capture_exact = false;
  CaptureIo capture_io = CaptureIo::automatic;
  std::chrono::nanoseconds flush_interval = std::chrono::milliseconds(10);
  std::chrono::nanoseconds sync_interval = std::chrono::seconds(1);
  std::uint64_t segment_size_bytes = 256 << 20;
  std::chrono::nanoseconds segment_time = std::chrono::seconds(60);
  std::uint64_t retain_size_bytes = 0;    ///< 0: everything
  std::chrono::nanoseconds retain_age{};  ///< 0: for ever
  friend bool operator==(const CaptureConfig&, const CaptureConfig&) = default;
};

/// What one route forwards and how; every member has its default in place.
struct RouteConfig : CaptureConfig {
  std::string name;
  std::vector<ListenAddress> listen;
  TargetAddress to;
  ZeroCopy zero_copy = ZeroCopy::automatic;
  Congestion congestion = Congestion::automatic;
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds idle_timeout = std::chrono::hours(1);           ///< 0: never
  std::chrono::nanoseconds half_close_timeout = std::chrono::seconds(30);  ///< 0: never
  CaptureDirection capture_direction = CaptureDirection::both;
  std::uint64_t capture_limit_bytes = 0;  ///< of each connection and direction; 0: no bound
  std::vector<TargetAddress> mirrors;     ///< what connects: HostPort or UnixEndpoint
  std::uint64_t mirror_max_lag_bytes = 4 << 20;
  mirror::OnLag mirror_on_lag = mirror::OnLag::disconnect;
  std::uint64_t mirror_sample = mirror::kWholeShare;  ///< of the connections, in millionths
};

/// The whole configuration, checked: nothing in it can fail later but for the machine's sake.
struct Config {
  int workers = 0;  ///< 0: one for each CPU that the process may run on
  Engine engine = Engine::automatic;
  CpuAffinity cpu_affinity;
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(30);  ///< 0: at once
  std::uint64_t max_connections = 100'000;                            ///< over all routes
  std::uint64_t pipe_size_bytes = 1 << 20;
  std::uint64_t pipe_budget_slots = 65'536;        ///< see PipePool: a slot can pin 32 KiB
  std::uint64_t capture_buffers_bytes = 32 << 20;  ///< of each worker
  std::uint64_t mirror_buffers_bytes = 64 << 20;   ///< of each worker
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
  std::string log_file;  ///< empty: stderr
  std::vector<RouteConfig> routes;
};

/// Where the routes listen, by their numbers.
[[nodiscard]] ListenSet listeners_of(const Config& config);
/// A route that leads back to itself, perhaps through others: each connection would make another.
/// `reached`: by route, those to which one who connects to its upstream comes.
[[nodiscard]] std::optional<std::size_t> find_circle(std::vector<std::vector<std::size_t>> reached);
/// Some route is recorded.
[[nodiscard]] bool records(const Config& config);

/// What is wrong with what the routes record and mirror, together or with their targets.
struct RouteConflict {
  std::size_t route = 0;
  std::string_view option;  ///< to be blamed
  std::string text;
};
[[nodiscard]] std::vector<RouteConflict> find_route_conflicts(const Config& config);

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
