#include "proxy/config/options.h"

#include <sched.h>

#include <algorithm>
#include <array>

#include "iolib/base/text.h"

namespace sluice {
namespace {

constexpr std::uint64_t kMicrosecond = 1'000;
constexpr std::uint64_t kMillisecond = 1'000 * kMicrosecond;
constexpr std::uint64_t kSecond = 1'000 * kMillisecond;
constexpr std::uint64_t kHour = 3'600'000 * kMillisecond;
constexpr std::uint64_t kDay = 24 * kHour;

// With more, a worker would hardly ever sleep.
constexpr std::uint64_t kLongestBusyPoll = 10 * kMillisecond;
// With more, a client waits for servers that are all down anyway.
constexpr std::uint64_t kMostRetries = 100;
// With more, a server that is down would hardly be ejected.
constexpr std::uint64_t kMostFailures = 1'000;
constexpr std::uint64_t kLongestEjection = 300 * kSecond;
// Checks more often than this are load, and with less time they fail at random.
constexpr std::uint64_t kShortestCheck = 10 * kMillisecond;
constexpr std::uint64_t kLongestCheck = kHour;
constexpr std::uint64_t kMostChecks = 100;
// More look-ups of a name than this are load on its server.
constexpr std::uint64_t kShortestResolve = 100 * kMillisecond;
constexpr std::uint64_t kLongestResolve = kHour;
// What is sent fits into any new socket's buffer.
constexpr std::uint64_t kMostCheckBytes = 4'096;
// More workers than CPUs only compete. No supported machine has more CPUs than this.
constexpr std::uint64_t kMostWorkers = 256;
// At two descriptors per connection, more would need over twice the kernel's default limit of
// descriptors (fs.nr_open, 1,048,576).
constexpr std::uint64_t kMostConnections = 1'000'000;
// A deadline shorter than a timer's tick would end connections at random.
constexpr std::uint64_t kShortestTimeout = kMillisecond;
// TCP gives up on a SYN after about two minutes (tcp_syn_retries), so over an hour is a mistake.
constexpr std::uint64_t kLongestConnectTimeout = kHour;
constexpr std::uint64_t kLongestDrainTimeout = kDay;
constexpr std::uint64_t kLongestTimeout = 365 * kDay;
// 16 slots: the kernel's default, and one batch from a pipe into a socket. Fewer only cost calls.
constexpr std::uint64_t kSmallestPipeBytes = 64 << 10;
// 4,096 slots can pin 128 MiB for one direction of one connection.
constexpr std::uint64_t kLargestPipeBytes = 16 << 20;
constexpr std::uint64_t kFewestSlots = kSmallestPipeBytes / kPipePageBytes;
// 2^24 slots of 32 KiB can pin 512 GiB.
constexpr std::uint64_t kMostSlots = 1 << 24;

// Each commit writes at least 4 KiB. More frequent ones would fill a disk with padding.
constexpr std::uint64_t kShortestFlush = kMillisecond / 10;
constexpr std::uint64_t kLongestFlush = 60'000 * kMillisecond;
// Eight blocks of 256 KiB keep a disk busy. The kernel cannot register buffers over 1 GiB.
constexpr std::uint64_t kLeastCaptureBuffers = 2 << 20;
constexpr std::uint64_t kMostCaptureBuffers = 1 << 30;
// A segment holds at least a few blocks of the largest size.
constexpr std::uint64_t kSmallestSegment = 8 << 20;
constexpr std::uint64_t kLargestSegment = std::uint64_t{64} << 30;
// A lag limit below one receive would end mirrors at random. A mirror that lags by over 1 GiB does
// not catch up.
constexpr std::uint64_t kLeastMirrorLag = 64 << 10;
constexpr std::uint64_t kMostMirrorLag = 1 << 30;
constexpr std::uint64_t kLeastMirrorBuffers = 1 << 20;
constexpr std::uint64_t kMostMirrorBuffers = std::uint64_t{64} << 30;
constexpr std::uint64_t kMostPerMinute = 60'000'000;
constexpr std::uint64_t kLeastBandwidth = 1 << 10;
constexpr std::uint64_t kMostBandwidth = std::uint64_t{64} << 30;
// The most that the kernel takes.
constexpr std::uint64_t kLongestKeepalive = 32'767 * kSecond;
constexpr std::uint64_t kLongestUserTimeout = 86'400 * kSecond;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 60;

// Each in the order of the enumerators that it names.
constexpr std::array<std::string_view, 3> kEngines{"auto", "uring", "epoll"};
constexpr std::array<std::string_view, 3> kZeroCopies{"auto", "always", "never"};
constexpr std::array<std::string_view, 4> kBalances{"two-choices", "round-robin",
                                                    "least-connections", "source-hash"};
constexpr std::array<std::string_view, 3> kHealths{"none", "tcp", "exchange"};
constexpr std::array<std::string_view, 2> kOnDowns{"keep", "reset"};
constexpr std::array<std::string_view, 3> kProxyIns{"off", "required", "trusted"};
constexpr std::array<std::string_view, 3> kProxyOuts{"off", "v1", "v2"};
constexpr std::array<std::string_view, 3> kProxyTlvs{"authority", "unique-id", "crc32c"};
constexpr std::array<std::string_view, 4> kDurabilities{"none", "interval", "batch",
                                                        "before-forward"};
constexpr std::array<std::string_view, 4> kCaptureFulls{"auto", "block", "drop", "close"};
constexpr std::array<std::string_view, 2> kCaptureIos{"auto", "buffered"};
constexpr std::array<std::string_view, 3> kDirections{"both", "client", "upstream"};
constexpr std::array<std::string_view, 2> kOnLags{"disconnect", "shed"};
constexpr std::array<std::string_view, 2> kCongestions{"auto", "system"};
constexpr std::array<std::string_view, 6> kLogLevels{"trace", "debug", "info",
                                                     "warn",  "error", "off"};
constexpr std::array<std::string_view, 2> kLogFormats{"text", "json"};
constexpr std::array<std::string_view, 12> kTopics{"all",      "routes",  "servers",  "clients",
                                                   "timeouts", "capture", "mirror",   "log",
                                                   "admin",    "workers", "transfer", "general"};

constexpr unsigned kGlobal = kOnCommandLine | kInDefaults;
constexpr unsigned kEverywhere = kOnCommandLine | kInDefaults | kInRoute;

constexpr auto kOptions = std::to_array<Option>({
    {.name = "listen",
     .kind = OptionKind::address,
     .places = kOnCommandLine | kInRoute,
     .topic = Topic::routes,
     .common = true,
     .value = "ADDR",
     .repeated = true,
     .help = "Accept connections at this address. It is HOST:PORT, [IPV6]:PORT, :PORT, unix:/path "
             "or unix:@name (an abstract socket). With port 0 the kernel chooses the port. The "
             "option can be repeated."},
    {.name = "to",
     .kind = OptionKind::address,
     .places = kOnCommandLine | kInRoute,
     .topic = Topic::routes,
     .common = true,
     .value = "ADDR",
     .repeated = true,
     .help = "Forward each connection to this target. It is HOST:PORT, [IPV6]:PORT, :PORT, "
             "unix:/path, unix:@name, dns:HOST:PORT (each address of the name is a server), "
             "srv:_NAME._tcp.DOMAIN (each record is a server), file:/path (each client receives "
             "the file), discard: (throws the bytes away) or echo: (sends them back). The option "
             "can be repeated for several servers."},
    {.name = "name",
     .kind = OptionKind::name,
     .places = kInRoute,
     .topic = Topic::routes,
     .value = "NAME",
     .help = "The name of the route in the log."},
    {.name = "config",
     .kind = OptionKind::path,
     .places = kOnCommandLine,
     .topic = Topic::routes,
     .common = true,
     .value = "FILE",
     .help = "Read routes and defaults from this TOML file. The file has at most 1MiB; - is "
             "standard input."},
    {.name = "check",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .topic = Topic::general,
     .common = true,
     .help = "Check the configuration and this machine, and exit. The exit status is 0 if both are "
             "fine, and 1 otherwise."},
    {.name = "zero-copy",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::transfer,
     .field = &RouteConfig::zero_copy,
     .value = "MODE",
     .default_text = "auto",
     .choices = kZeroCopies,
     .help = "Choose when bytes move without being copied. auto moves them through a pipe while a "
             "stream is large, and copies them otherwise."},
    {.name = "congestion",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::transfer,
     .field = &RouteConfig::congestion,
     .value = "MODE",
     .default_text = "auto",
     .choices = kCongestions,
     .help = "Choose the congestion control of TCP. auto uses reno on loopback, where an algorithm "
             "that paces (such as bbr) only idles, and the choice of the system everywhere else. "
             "system always uses the choice of the system."},
    {.name = "balance",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::servers,
     .field = &RouteConfig::balance,
     .value = "METHOD",
     .default_text = "two-choices",
     .choices = kBalances,
     .help = "Choose how a connection picks one of several servers. two-choices takes the less "
             "loaded one of two random servers, least-connections the least loaded of all, "
             "round-robin each in turn, and source-hash always the same one for a client's "
             "address."},
    {.name = "retries",
     .kind = OptionKind::count,
     .places = kEverywhere,
     .topic = Topic::servers,
     .field = &RouteConfig::retries,
     .value = "N",
     .default_text = "3, or 0 with one server",
     .lowest = 1,
     .highest = kMostRetries,
     .zero = "never",
     .help = "If a connect fails, try up to this many times more, first with servers that this "
             "connection has not tried."},
    {.name = "hedge-after",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::servers,
     .field = &RouteConfig::hedge_after,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kShortestTimeout,
     .highest = kLongestConnectTimeout,
     .zero = "never",
     .help = "If a connect takes longer than this, connect to another server too. The first to "
             "connect is used."},
    {.name = "eject-after",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::eject_after,
     .value = "N",
     .default_text = "5",
     .lowest = 1,
     .highest = kMostFailures,
     .zero = "never",
     .help = "Eject a server after this many failed connects in a row: it gets no connections for "
             "a time."},
    {.name = "eject-time",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::eject_time,
     .value = "DURATION",
     .default_text = "10s",
     .lowest = kShortestTimeout,
     .highest = kLongestEjection,
     .help = "Eject a server for this long at first. Each further time is twice as long, up to 5 "
             "minutes."},
    {.name = "health",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::servers,
     .field = &RouteConfig::health,
     .value = "CHECK",
     .default_text = "none",
     .choices = kHealths,
     .help = "Check whether the servers are up. One that is down gets no connections. tcp begins a "
             "connection, which the server never sees. exchange (with health-send and "
             "health-expect, in the file) sends a request and looks at the answer."},
    {.name = "health-send",
     .kind = OptionKind::bytes,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_send,
     .value = "BYTES",
     .highest = kMostCheckBytes,
     .help = "With health = exchange, send this. It is text, or hex: and hexadecimal digits; "
             "\"\" for a server that speaks first."},
    {.name = "health-expect",
     .kind = OptionKind::bytes,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_expect,
     .value = "BYTES",
     .lowest = 1,
     .highest = kMostCheckBytes,
     .help = "With health = exchange, a server is up if the first 16KiB of its answer contain "
             "this. It is written like health-send."},
    {.name = "health-interval",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_interval,
     .value = "DURATION",
     .default_text = "2s",
     .lowest = kShortestCheck,
     .highest = kLongestCheck,
     .help = "Check each server this often, give or take a tenth."},
    {.name = "health-timeout",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_timeout,
     .value = "DURATION",
     .default_text = "1s",
     .lowest = kShortestCheck,
     .highest = kLongestCheck,
     .help = "A check fails if it takes longer than this."},
    {.name = "health-rise",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_rise,
     .value = "N",
     .default_text = "2",
     .lowest = 1,
     .highest = kMostChecks,
     .help = "A server that is down is up again after this many good checks in a row."},
    {.name = "health-fall",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::health_fall,
     .value = "N",
     .default_text = "3",
     .lowest = 1,
     .highest = kMostChecks,
     .help = "A server is down after this many failed checks in a row."},
    {.name = "on-down",
     .kind = OptionKind::choice,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::on_down,
     .value = "ACTION",
     .default_text = "keep",
     .choices = kOnDowns,
     .help = "Choose what happens to the connections of a server that its checks find down. keep "
             "leaves them alone, reset ends them with a reset."},
    {.name = "resolve-interval",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::resolve_interval,
     .value = "DURATION",
     .default_text = "10s",
     .lowest = kShortestResolve,
     .highest = kLongestResolve,
     .help = "Look a dns: or srv: name up again this long after its last answer."},
    {.name = "allow",
     .kind = OptionKind::prefix,
     .places = kEverywhere,
     .topic = Topic::clients,
     .field = &RouteConfig::allow,
     .value = "BLOCK",
     .default_text = "everybody",
     .repeated = true,
     .help = "Let only these clients in. It is an address, a block such as 10.0.0.0/8, unix: for "
             "the clients of unix sockets, or file:/path with one of them a line. The most "
             "specific block counts. The option can be repeated."},
    {.name = "deny",
     .kind = OptionKind::prefix,
     .places = kEverywhere,
     .topic = Topic::clients,
     .field = &RouteConfig::deny,
     .value = "BLOCK",
     .default_text = "nobody",
     .repeated = true,
     .help = "Reset the connections of these clients. It is written like --allow, and wins over an "
             "equal block there. The option can be repeated."},
    {.name = "source-connections",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::source_connections,
     .value = "N",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostConnections,
     .zero = "no limit",
     .help = "Let one source have this many connections at a time. A source is an IPv4 address, or "
             "a /64 of IPv6."},
    {.name = "source-rate",
     .kind = OptionKind::rate,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::source_rate,
     .value = "RATE",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostPerMinute,
     .zero = "no limit",
     .help = "Let one source begin this many connections in a time, such as 100/s or 600/m. As "
             "many as in a second may begin at once."},
    {.name = "server-connections",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::server_connections,
     .value = "N",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostConnections,
     .zero = "no limit",
     .help = "Let each server have this many connections at a time. One that has gets no more; if "
             "all have, further connections are reset."},
    {.name = "route-connections",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::route_connections,
     .value = "N",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostConnections,
     .zero = "no limit",
     .help = "Forward at most this many connections of the route at a time. Further ones are "
             "reset."},
    {.name = "queue",
     .kind = OptionKind::count,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::queue,
     .value = "N",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostConnections,
     .zero = "nobody waits",
     .help = "Let this many connections wait, in order, until route-connections and "
             "server-connections have a place for them. Further ones are reset."},
    {.name = "queue-timeout",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::queue_timeout,
     .value = "DURATION",
     .default_text = "5s",
     .lowest = kShortestTimeout,
     .highest = kLongestConnectTimeout,
     .help = "Reset a connection that has waited this long in the queue."},
    {.name = "connection-bandwidth",
     .kind = OptionKind::bandwidth,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::connection_bandwidth,
     .value = "BANDWIDTH",
     .default_text = "0",
     .lowest = kLeastBandwidth,
     .highest = kMostBandwidth,
     .zero = "no limit",
     .help = "Forward at most this many bytes a second of each connection, in each direction, such "
             "as 10MiB/s."},
    {.name = "route-bandwidth",
     .kind = OptionKind::bandwidth,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::route_bandwidth,
     .value = "BANDWIDTH",
     .default_text = "0",
     .lowest = kLeastBandwidth,
     .highest = kMostBandwidth,
     .zero = "no limit",
     .help = "Forward at most this many bytes a second of all connections of the route together, "
             "in each direction. They share it in turns."},
    {.name = "proxy-in",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::clients,
     .field = &RouteConfig::proxy_in,
     .value = "MODE",
     .default_text = "off",
     .choices = kProxyIns,
     .help = "Read a PROXY header from those who connect. It says which client a load balancer in "
             "front speaks for. trusted reads it from those of --proxy-trust, who must send it; "
             "others are clients themselves. required refuses others."},
    {.name = "proxy-trust",
     .kind = OptionKind::prefix,
     .places = kEverywhere,
     .topic = Topic::clients,
     .field = &RouteConfig::proxy_trust,
     .value = "BLOCK",
     .default_text = "nobody",
     .repeated = true,
     .help = "Believe the PROXY headers of these. It is an address, a block such as 10.0.0.0/8, or "
             "unix: for everyone who connects to a unix socket. The option can be repeated."},
    {.name = "proxy-out",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::servers,
     .field = &RouteConfig::proxy_out,
     .value = "VERSION",
     .default_text = "off",
     .choices = kProxyOuts,
     .help = "Send servers a PROXY header. It tells them the address of the client."},
    {.name = "proxy-tlvs",
     .kind = OptionKind::choice,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::proxy_tlvs,
     .value = "FIELD",
     .repeated = true,
     .choices = kProxyTlvs,
     .help =
         "With proxy-out = v2, add these to the header. authority is the name that a TLS client "
         "asked for (of a route that is chosen by it), unique-id the id of the connection in "
         "the log, crc32c a checksum."},
    {.name = "source",
     .kind = OptionKind::address,
     .places = kInDefaults | kInRoute,
     .topic = Topic::servers,
     .field = &RouteConfig::source,
     .value = "ADDR",
     .default_text = "chosen by the system",
     .help = "Connect to servers from this address of the machine. It is an IPv4 or IPv6 address "
             "without a port."},
    {.name = "keepalive",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::timeouts,
     .field = &RouteConfig::keepalive,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kSecond,
     .highest = kLongestKeepalive,
     .zero = "as the system has it",
     .help = "Ask whether a peer is still there after it has been silent for this long (TCP "
             "keep-alive), on both sides."},
    {.name = "user-timeout",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::timeouts,
     .field = &RouteConfig::user_timeout,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kSecond,
     .highest = kLongestUserTimeout,
     .zero = "as the system has it",
     .help = "Give a peer up that has acknowledged nothing for this long (TCP_USER_TIMEOUT), on "
             "both sides."},
    {.name = "peek-timeout",
     .kind = OptionKind::duration,
     .places = kInDefaults | kInRoute,
     .topic = Topic::clients,
     .field = &RouteConfig::peek_timeout,
     .value = "DURATION",
     .default_text = "3s",
     .lowest = kShortestTimeout,
     .highest = kLongestConnectTimeout,
     .help = "Wait this long for a PROXY header, and for what a client says first."},
    {.name = "connect-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::timeouts,
     .field = &RouteConfig::connect_timeout,
     .value = "DURATION",
     .default_text = "5s",
     .lowest = kShortestTimeout,
     .highest = kLongestConnectTimeout,
     .help = "Give up connecting to the target after this time. The same limit applies to opening "
             "the file of a file: target."},
    {.name = "idle-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::timeouts,
     .common = true,
     .field = &RouteConfig::idle_timeout,
     .value = "DURATION",
     .default_text = "1h",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .zero = "never",
     .help = "End a connection that is idle for this long. Idle means that no byte passes in "
             "either direction."},
    {.name = "half-close-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::timeouts,
     .field = &RouteConfig::half_close_timeout,
     .value = "DURATION",
     .default_text = "30s",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .zero = "never",
     .help = "End a half-closed connection after this idle time. A connection is half-closed when "
             "one side has ended its stream."},
    {.name = "capture",
     .kind = OptionKind::path,
     .places = kEverywhere,
     .topic = Topic::capture,
     .common = true,
     .field = &RouteConfig::capture,
     .value = "DIR",
     .default_text = "nothing is recorded",
     .help = "Record what is forwarded, in this directory. A missing directory is created. "
             "sluice-capture(1) reads the segment files in it."},
    {.name = "durability",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::capture,
     .common = true,
     .field = &RouteConfig::durability,
     .value = "LEVEL",
     .default_text = "batch",
     .choices = kDurabilities,
     .help = "Choose when recorded bytes reach stable storage. none flushes them when a segment is "
             "full, interval every --sync-interval, batch with each block, and before-forward "
             "before they are forwarded."},
    {.name = "capture-full",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_full,
     .value = "POLICY",
     .default_text = "auto",
     .choices = kCaptureFulls,
     .help = "Choose what happens when the disk does not keep up. block makes forwarding wait, "
             "drop forwards and records a gap, close ends the connection. auto blocks with batch "
             "and before-forward, and drops otherwise."},
    {.name = "capture-exact",
     .kind = OptionKind::flag,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_exact,
     .default_text = "off",
     .help = "Forward the recorded copy of the bytes. Record and forwarded bytes are then the same "
             "even if a sender on this host alters pages that it has given to sendfile or splice. "
             "With before-forward this is always on."},
    {.name = "capture-enabled",
     .kind = OptionKind::flag,
     .places = kInDefaults | kInRoute,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_enabled,
     .default_text = "true",
     .help = "Record the connections of the route from the start. With false, nothing is recorded "
             "until that is asked for at an address of --admin."},
    {.name = "capture-io",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_io,
     .value = "MODE",
     .default_text = "auto",
     .choices = kCaptureIos,
     .help = "Choose whether records bypass the page cache. auto bypasses it wherever the "
             "filesystem supports that. buffered writes through it, which costs far more CPU."},
    {.name = "capture-direction",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_direction,
     .value = "SIDE",
     .default_text = "both",
     .choices = kDirections,
     .help = "Record only what this side sends."},
    {.name = "capture-limit",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::capture_limit_bytes,
     .value = "SIZE",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostBytes,
     .zero = "no limit",
     .help = "Record at most this many bytes per direction. The limit applies to each direction of "
             "each connection; later bytes become a gap."},
    {.name = "flush-interval",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::flush_interval,
     .value = "DURATION",
     .default_text = "10ms",
     .lowest = kShortestFlush,
     .highest = kLongestFlush,
     .help =
         "Write a block that is not full after this time. With before-forward, blocks never wait."},
    {.name = "sync-interval",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::sync_interval,
     .value = "DURATION",
     .default_text = "1s",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .help = "With --durability interval, flush this often."},
    {.name = "segment-size",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::segment_size_bytes,
     .value = "SIZE",
     .default_text = "256MiB",
     .lowest = kSmallestSegment,
     .highest = kLargestSegment,
     .help = "Begin a new segment file at this size. The file is allocated ahead."},
    {.name = "segment-time",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::segment_time,
     .value = "DURATION",
     .default_text = "1m",
     .lowest = kSecond,
     .highest = kLongestTimeout,
     .help = "Seal a segment file after this time. A segment in which nothing was recorded stays "
             "open."},
    {.name = "retain-size",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .topic = Topic::capture,
     .common = true,
     .field = &RouteConfig::retain_size_bytes,
     .value = "SIZE",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostBytes,
     .zero = "all",
     .help =
         "Keep at most this much in sealed segments. The oldest segments of a directory beyond it "
         "are deleted, and more when the disk is full. Segments being written come on top: "
         "up to two of --segment-size for each worker."},
    {.name = "retain-age",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .topic = Topic::capture,
     .field = &RouteConfig::retain_age,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kSecond,
     .highest = 100 * kLongestTimeout,
     .zero = "for ever",
     .help = "Delete sealed segments that are older than this."},
    {.name = "mirror",
     .kind = OptionKind::address,
     .places = kEverywhere,
     .topic = Topic::mirror,
     .common = true,
     .field = &RouteConfig::mirrors,
     .value = "ADDR",
     .default_text = "nothing is mirrored",
     .repeated = true,
     .help = "Also send what clients send to this server. It is HOST:PORT, [IPV6]:PORT, :PORT, "
             "unix:/path or unix:@name. Its answers are discarded, and forwarding never waits for "
             "it. The option can be repeated."},
    {.name = "mirror-max-lag",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .topic = Topic::mirror,
     .field = &RouteConfig::mirror_max_lag_bytes,
     .value = "SIZE",
     .default_text = "4MiB",
     .lowest = kLeastMirrorLag,
     .highest = kMostMirrorLag,
     .help = "Let a mirrored connection lag by at most this much. These are bytes in memory that "
             "the mirror has not taken yet; see also --mirror-buffers."},
    {.name = "mirror-on-lag",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .topic = Topic::mirror,
     .field = &RouteConfig::mirror_on_lag,
     .value = "POLICY",
     .default_text = "disconnect",
     .choices = kOnLags,
     .help = "Choose what happens to a mirror that lags more. disconnect resets the mirror of this "
             "connection. shed does the same, and mirrors no new connection until the others have "
             "caught up."},
    {.name = "mirror-sample",
     .kind = OptionKind::fraction,
     .places = kEverywhere,
     .topic = Topic::mirror,
     .field = &RouteConfig::mirror_sample,
     .value = "SHARE",
     .default_text = "1",
     .lowest = 1,
     .highest = mirror::kWholeShare,
     .help = "Mirror only this share of the connections. 0.1 is a tenth. A hash of the address and "
             "port of the client selects them; for clients of unix sockets, a hash of the "
             "connection's number."},
    {.name = "drain-timeout",
     .kind = OptionKind::duration,
     .places = kGlobal,
     .topic = Topic::timeouts,
     .field = &Config::drain_timeout,
     .value = "DURATION",
     .default_text = "30s",
     .lowest = kShortestTimeout,
     .highest = kLongestDrainTimeout,
     .zero = "at once",
     .help =
         "After SIGTERM or SIGINT, reset connections that are left after this time. The process "
         "can take up to 15 seconds more, mostly to write the capture. Raise the systemd unit's "
         "TimeoutStopSec with it."},
    {.name = "lame-duck",
     .kind = OptionKind::duration,
     .places = kGlobal,
     .topic = Topic::timeouts,
     .field = &Config::lame_duck,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kShortestTimeout,
     .highest = kLongestDrainTimeout,
     .zero = "drain at once",
     .help = "After SIGTERM, accept clients for this long before the drain. Meanwhile /readyz of "
             "the admin addresses answers 503, so that load balancers go elsewhere. Raise the "
             "systemd unit's TimeoutStopSec with it."},
    {.name = "takeover-drain",
     .kind = OptionKind::duration,
     .places = kGlobal,
     .topic = Topic::timeouts,
     .field = &Config::takeover_drain,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .zero = "never",
     .help = "After another process has taken over, reset connections that are left after this "
             "time. The option of the process that was replaced counts."},
    {.name = "workers",
     .kind = OptionKind::count,
     .places = kGlobal,
     .topic = Topic::workers,
     .common = true,
     .field = &Config::workers,
     .value = "N",
     .default_text = "one for each CPU",
     .lowest = 1,
     .highest = kMostWorkers,
     .help = "Forward on this many threads."},
    {.name = "engine",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .topic = Topic::workers,
     .field = &Config::engine,
     .value = "ENGINE",
     .default_text = "auto",
     .choices = kEngines,
     .help = "Choose how to wait for sockets. auto uses io_uring where the kernel allows it, and "
             "epoll otherwise."},
    {.name = "busy-poll",
     .kind = OptionKind::duration,
     .places = kGlobal,
     .topic = Topic::workers,
     .field = &Config::busy_poll,
     .value = "DURATION",
     .default_text = "0",
     .lowest = kMicrosecond,
     .highest = kLongestBusyPoll,
     .zero = "never",
     .help = "Before a worker sleeps, let it look for work for this long. That lowers latency and "
             "costs CPU."},
    {.name = "max-connections",
     .kind = OptionKind::count,
     .places = kGlobal,
     .topic = Topic::workers,
     .field = &Config::max_connections,
     .value = "N",
     .default_text = "100000",
     .lowest = 1,
     .highest = kMostConnections,
     .help =
         "Forward at most this many connections at a time. The limit covers all routes together."},
    {.name = "cpu-affinity",
     .kind = OptionKind::cpus,
     .places = kGlobal,
     .topic = Topic::workers,
     .field = &Config::cpu_affinity,
     .value = "CPUS",
     .default_text = "auto",
     .highest = CPU_SETSIZE - 1,
     .help =
         "Pin the workers to these CPUs. Connections are steered to the CPU on which they arrive."},
    {.name = "pipe-size",
     .kind = OptionKind::size,
     .places = kGlobal,
     .topic = Topic::transfer,
     .field = &Config::pipe_size_bytes,
     .value = "SIZE",
     .default_text = "1MiB",
     .lowest = kSmallestPipeBytes,
     .highest = kLargestPipeBytes,
     .help = "Ask the kernel for pipes of this size. The kernel rounds it up to a power of two. It "
             "grants a process without privileges at most fs.pipe-max-size."},
    {.name = "pipe-budget",
     .kind = OptionKind::count,
     .places = kGlobal,
     .topic = Topic::transfer,
     .field = &Config::pipe_budget_slots,
     .value = "SLOTS",
     .default_text = "65536",
     .lowest = kFewestSlots,
     .highest = kMostSlots,
     .help =
         "Hold pipes of at most this many slots in all. A pipe has one slot for each 4KiB of its "
         "size, and a slot can pin 32KiB of memory. A stream that finds no pipe is copied."},
    {.name = "capture-buffers",
     .kind = OptionKind::size,
     .places = kGlobal,
     .topic = Topic::capture,
     .field = &Config::capture_buffers_bytes,
     .value = "SIZE",
     .default_text = "32MiB",
     .lowest = kLeastCaptureBuffers,
     .highest = kMostCaptureBuffers,
     .help = "Buffer at most this much per worker for the disk. These are recorded bytes that are "
             "not on the disk yet, of all directories together."},
    {.name = "mirror-buffers",
     .kind = OptionKind::size,
     .places = kGlobal,
     .topic = Topic::mirror,
     .field = &Config::mirror_buffers_bytes,
     .value = "SIZE",
     .default_text = "64MiB",
     .lowest = kLeastMirrorBuffers,
     .highest = kMostMirrorBuffers,
     .help = "Buffer at most this much per worker for mirrors. These are bytes that mirrors have "
             "not taken yet; each mirror has an equal share."},
    {.name = "log-level",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .topic = Topic::log,
     .common = true,
     .field = &Config::log_level,
     .value = "LEVEL",
     .default_text = "info",
     .choices = kLogLevels,
     .help = "Log only lines of this level and above. warn omits the line of each connection."},
    {.name = "log-format",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .topic = Topic::log,
     .field = &Config::log_format,
     .value = "FORMAT",
     .default_text = "text",
     .choices = kLogFormats,
     .help = "Write each log line as text or as a JSON object."},
    {.name = "log-file",
     .kind = OptionKind::path,
     .places = kGlobal,
     .topic = Topic::log,
     .common = true,
     .field = &Config::log_file,
     .value = "PATH",
     .default_text = "standard error",
     .help = "Append the log to this file. - prints it to standard output. SIGHUP opens the file "
             "again."},
    {.name = "admin",
     .kind = OptionKind::address,
     .places = kGlobal,
     .topic = Topic::admin,
     .common = true,
     .field = &Config::admin,
     .value = "ADDR",
     .repeated = true,
     .help = "Serve metrics and health over HTTP at this address. It is unix:/path (its owner and "
             "group may use it) or a TCP address. A TCP address that is not loopback "
             "serves /metrics, /livez and /readyz only. The option can be repeated."},
    {.name = "admin-host",
     .kind = OptionKind::name,
     .places = kGlobal,
     .topic = Topic::admin,
     .field = &Config::admin_hosts,
     .value = "NAME",
     .repeated = true,
     .help = "Also answer HTTP requests for this host name. IP addresses and localhost are always "
             "answered. The option can be repeated."},
    {.name = "admin-token-file",
     .kind = OptionKind::path,
     .places = kGlobal,
     .topic = Topic::admin,
     .field = &Config::admin_token_file,
     .value = "FILE",
     .help = "Require the token in this file over TCP. It has at least 32 characters, and only the "
             "file's owner and group may read it. /metrics, /livez, /readyz and the page itself "
             "need none, and neither do unix sockets."},
    {.name = "takeover-socket",
     .kind = OptionKind::path,
     .places = kGlobal,
     .topic = Topic::admin,
     .field = &Config::takeover_socket,
     .value = "FILE",
     .help = "Let another process of this user, or of root, take over at this unix socket, without "
             "a lost connection. See --takeover."},
    {.name = "takeover",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .topic = Topic::general,
     .help = "Take over from the process that runs. It hands over its listeners and what operators "
             "changed, and keeps its connections until they end; if this process fails, it "
             "accepts again. Needs --takeover-socket."},
    {.name = "version",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .topic = Topic::general,
     .common = true,
     .help = "Print the version and exit."},
    {.name = "help",
     .kind = OptionKind::choice,
     .places = kOnCommandLine,
     .topic = Topic::general,
     .common = true,
     .value = "TOPIC",
     .choices = kTopics,
     .help = "Print the common options, or those of this topic. all prints every option."},
});

}  // namespace

std::span<const Option> options() { return kOptions; }

const Option* find_option(std::string_view name) {
  const auto found = std::ranges::find(kOptions, name, &Option::name);
  return found == kOptions.end() ? nullptr : &*found;
}

bool tells_how_to_record(const Option& option) {
  constexpr std::array<std::string_view, 3> kOthers = {"durability", "flush-interval",
                                                       "sync-interval"};
  return option.name.starts_with("capture-") || option.name.starts_with("segment-") ||
         option.name.starts_with("retain-") ||
         std::ranges::find(kOthers, option.name) != kOthers.end();
}

std::vector<std::string_view> option_names(unsigned places) {
  std::vector<std::string_view> names;
  for (const Option& option : kOptions) {
    if ((option.places & places) != 0) names.push_back(option.name);
  }
  return names;
}

std::string joined(std::span<const std::string_view> names) {
  std::string result;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) result += i + 1 == names.size() ? " or " : ", ";
    result += names[i];
  }
  return result;
}

std::string listing(std::span<const std::string> mistakes, std::string_view who) {
  std::string text;
  for (const std::string& each : mistakes.first(std::min(mistakes.size(), kMostMistakes))) {
    if (!text.empty()) text += '\n';
    text += one_line(each);
  }
  if (mistakes.size() <= kMostMistakes) return text;
  return text + '\n' + one_line(who) + ": and " + std::to_string(mistakes.size() - kMostMistakes) +
         " more";
}

}  // namespace sluice
