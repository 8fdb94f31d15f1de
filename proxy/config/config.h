#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iolib/balance/prefix_set.h"
#include "iolib/base/address.h"
#include "iolib/base/error.h"
#include "iolib/base/prefix.h"
#include "iolib/capture/policy.h"
#include "iolib/mirror/mirror.h"
#include "iolib/mirror/sample.h"
#include "proxy/config/listen_set.h"
#include "proxy/config/route_match.h"

namespace sluice {

enum class Engine { automatic, uring, epoll };
enum class ZeroCopy { automatic, always, never };
enum class Congestion { automatic, system };
enum class LogFormat { text, json };
enum class LogLevel { trace, debug, info, warn, error, off };

/// The CPUs to which workers are pinned.
struct CpuAffinity {
  enum class Mode { automatic, none, list };
  Mode mode = Mode::automatic;
  std::vector<int> cpus;  ///< mode list only: "0,2-3" gives {0, 2, 3}
};

/// What happens when the capture's buffers are full. `automatic` depends on the durability.
enum class CaptureFull { automatic, block, drop, close };
/// How a capture is written: `automatic` bypasses the page cache if that is possible.
enum class CaptureIo { automatic, buffered };
/// Whose bytes are recorded.
enum class CaptureDirection { both, client, upstream };

/// The settings of a capture directory. All routes that share it have the same ones.
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
  std::uint64_t retain_size_bytes = 0;    ///< 0: no limit
  std::chrono::nanoseconds retain_age{};  ///< 0: no limit
  friend bool operator==(const CaptureConfig&, const CaptureConfig&) = default;
};

/// One of the servers of a route, or a name of several, for each of which the rest holds.
struct ServerConfig {
  TargetAddress address;
  std::uint32_t weight = 1;       ///< its share of the connections; 0: none
  bool backup = false;            ///< used only if no other server can be
  std::uint64_t connections = 0;  ///< at a time; 0: as RouteConfig::server_connections says
};

/// How a connection picks one of several servers; see SEVERAL SERVERS in sluice(1).
enum class Balance { two_choices, round_robin, least_connections, source_hash };

/// How servers are checked, and what happens to the sessions of one that is found down.
enum class Health { none, tcp, exchange };
enum class OnDown { keep, reset };

/// Whether clients begin with a PROXY header: never, those of proxy-trust always and nobody else
/// may come, or those of proxy-trust always and others never.
enum class ProxyIn { off, required, trusted };
/// The version of the PROXY header that servers get.
enum class ProxyOut { off, v1, v2 };
/// A field of a header of version 2.
enum class ProxyTlv { authority, unique_id, crc32c };

/// An element of a list of clients: a block of addresses, or a file that has one a line.
using ListEntry = std::variant<Prefix, FileEndpoint>;

/// What a route forwards, and how. Every member holds its default.
struct RouteConfig : CaptureConfig {
  std::string name;
  std::vector<ListenAddress> listen;
  std::vector<ServerConfig> to;  ///< file:, discard: or echo: stands alone. None: connections that
                                 ///< no match sends to another route end
  std::vector<RouteMatch> matches;  ///< the first that fits counts
  Balance balance = Balance::two_choices;
  std::optional<std::uint64_t> retries;     ///< none: 3 if there are several servers, otherwise 0
  std::chrono::nanoseconds hedge_after{0};  ///< see HedgedConnector; 0: never
  std::uint64_t eject_after = 5;            ///< see EjectionPolicy
  std::chrono::nanoseconds eject_time = std::chrono::seconds(10);
  Health health = Health::none;
  std::optional<std::string> health_send;    ///< with Health::exchange both are given
  std::optional<std::string> health_expect;  ///< not empty
  std::chrono::nanoseconds health_interval = std::chrono::seconds(2);
  std::chrono::nanoseconds health_timeout = std::chrono::seconds(1);
  std::uint64_t health_rise = 2;  ///< checks in a row that pass until a server counts as up
  std::uint64_t health_fall = 3;  ///< checks in a row that fail until it counts as down
  OnDown on_down = OnDown::keep;
  std::chrono::nanoseconds resolve_interval = std::chrono::seconds(10);  ///< of names of servers
  std::vector<ListEntry> allow;  ///< with `deny`: who may come in; see balance::PrefixSet
  std::vector<ListEntry> deny;
  std::shared_ptr<const balance::PrefixSet> clients;  ///< what both say; null: everybody
  std::uint64_t source_connections = 0;               ///< of one source at a time; 0: no limit
  std::uint64_t source_rate = 0;         ///< new ones of one source in a minute; 0: no limit
  std::uint64_t server_connections = 0;  ///< of each server at a time; 0: no limit
  std::uint64_t route_connections = 0;   ///< at a time; 0: no limit
  std::uint64_t queue = 0;               ///< how many wait for a place at a time; 0: none
  std::chrono::nanoseconds queue_timeout = std::chrono::seconds(5);  ///< the longest such wait
  /// In bytes a second and direction; 0: no limit.
  std::uint64_t connection_bandwidth = 0;
  std::uint64_t route_bandwidth = 0;  ///< of all its connections together; the same
  ProxyIn proxy_in = ProxyIn::off;
  std::vector<Prefix> proxy_trust;  ///< whose headers are believed; not empty if proxy_in is on
  ProxyOut proxy_out = ProxyOut::off;
  std::vector<ProxyTlv> proxy_tlvs;
  std::chrono::nanoseconds peek_timeout = std::chrono::seconds(3);  ///< for the first bytes
  SocketAddress source;                      ///< the local address towards servers; unnamed: any
  std::chrono::nanoseconds keepalive{0};     ///< idle time before probes; 0: as the system has it
  std::chrono::nanoseconds user_timeout{0};  ///< TCP_USER_TIMEOUT; 0: as the system has it
  ZeroCopy zero_copy = ZeroCopy::automatic;
  Congestion congestion = Congestion::automatic;
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds idle_timeout = std::chrono::hours(1);           ///< 0: never
  std::chrono::nanoseconds half_close_timeout = std::chrono::seconds(30);  ///< 0: never
  bool capture_enabled = true;  ///< at the start; true in a route that is_sink()
  CaptureDirection capture_direction = CaptureDirection::both;
  std::uint64_t capture_limit_bytes = 0;  ///< per connection and direction; 0: no limit
  std::vector<TargetAddress> mirrors;     ///< each a HostPort or a UnixEndpoint
  std::uint64_t mirror_max_lag_bytes = 4 << 20;
  mirror::OnLag mirror_on_lag = mirror::OnLag::disconnect;
  std::uint64_t mirror_sample = mirror::kWholeShare;  ///< share of the connections, in millionths

  /// The first address of `to`: the only one if it is a file:, discard: or echo: target. Nowhere if
  /// there is none.
  [[nodiscard]] const TargetAddress& target() const {
    static const TargetAddress nowhere{HostPort{}};
    return to.empty() ? nowhere : to.front().address;
  }
  /// Whether it forwards to servers.
  [[nodiscard]] bool has_servers() const {
    return !to.empty() && (is_server(target()) || names_servers(target()));
  }
};

/// The most servers of a route. A health check of each, every 2 s, then takes a fifth of a CPU.
inline constexpr std::size_t kMostServers = 10'000;
/// The same with Balance::least_connections, since each pick looks at all of them.
inline constexpr std::size_t kMostLeastConnections = 256;

/// The whole configuration. It is valid: only the machine can still make a start fail.
struct Config {
  int workers = 0;  ///< 0: one for each CPU that the process may run on
  Engine engine = Engine::automatic;
  CpuAffinity cpu_affinity;
  std::chrono::nanoseconds busy_poll{0};  ///< see Reactor::set_busy_poll()
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(30);  ///< 0: end at once
  std::chrono::nanoseconds lame_duck{0};       ///< accept this long after SIGTERM
  std::chrono::nanoseconds takeover_drain{0};  ///< once another process has taken over; 0: no limit
  std::uint64_t max_connections = 100'000;     ///< of all routes together
  std::uint64_t pipe_size_bytes = 1 << 20;
  std::uint64_t pipe_budget_slots = 65'536;        ///< a slot can pin 32 KiB, see PipePool
  std::uint64_t capture_buffers_bytes = 32 << 20;  ///< of each worker
  std::uint64_t mirror_buffers_bytes = 64 << 20;   ///< of each worker
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
  std::string log_file;                  ///< empty: stderr; "-": stdout
  std::vector<ListenAddress> admin;      ///< where HTTP is served; none is abstract
  std::vector<std::string> admin_hosts;  ///< further names allowed in `Host`, in lower case
  std::string admin_token_file;          ///< empty: no token is needed
  std::string takeover_socket;           ///< a path; empty: nobody can take over
  std::vector<RouteConfig> routes;
};

/// The listening addresses of all routes, with the route's index for each.
[[nodiscard]] ListenSet listeners_of(const Config& config);
/// Finds a route that leads back to itself, directly or through others: each connection there would
/// make another one. `reached[i]` lists the routes that a connection to the upstream of route i
/// reaches.
[[nodiscard]] std::optional<std::size_t> find_circle(std::vector<std::vector<std::size_t>> reached);
/// Whether any route is recorded.
[[nodiscard]] bool records(const Config& config);

/// A conflict between a route's settings, or between several routes.
struct RouteConflict {
  std::size_t route = 0;
  std::string_view option;  ///< the option that the error names
  std::string text;
};
/// All conflicts of `config`, whose values are valid on their own.
[[nodiscard]] std::vector<RouteConflict> find_route_conflicts(const Config& config);

/// What the command line requests.
struct Invocation {
  enum class Action { run, check, exit };
  Action action = Action::run;
  int exit_status = 0;  ///< exit only: 0 after --help and --version, 1 for a bad configuration, 2
                        ///< for wrong usage
  std::string message;  ///< exit only: the text to print unchanged, with its newline: to stdout if
                        ///< exit_status is 0, otherwise to stderr
  Config config;
  bool takes_over = false;  ///< run only: take over from the process at Config::takeover_socket
  std::string config_file = {};  ///< empty: the command line says everything
};

/// Parses the command line and the configuration file that it names.
[[nodiscard]] Invocation parse_command_line(int argc, const char* const* argv);

}  // namespace sluice
