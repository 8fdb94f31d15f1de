#include "proxy/config/options.h"

#include <sched.h>

#include <algorithm>
#include <array>

#include "iolib/base/text.h"

namespace sluice {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kSecond = 1'000 * kMillisecond;
constexpr std::uint64_t kHour = 3'600'000 * kMillisecond;
constexpr std::uint64_t kDay = 24 * kHour;

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
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 60;

// Each in the order of the enumerators that it names.
constexpr std::array<std::string_view, 3> kEngines{"auto", "uring", "epoll"};
constexpr std::array<std::string_view, 3> kZeroCopies{"auto", "always", "never"};
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

constexpr unsigned kGlobal = kOnCommandLine | kInDefaults;
constexpr unsigned kEverywhere = kOnCommandLine | kInDefaults | kInRoute;

constexpr auto kOptions = std::to_array<Option>({
    {.name = "listen",
     .kind = OptionKind::address,
     .places = kOnCommandLine | kInRoute,
     .value = "ADDR",
     .repeated = true,
     .help = "Accept connections here: HOST:PORT, [IPV6]:PORT, :PORT, unix:/path or unix:@name "
             "(abstract); may be given more than once; port 0 lets the kernel choose."},
    {.name = "to",
     .kind = OptionKind::address,
     .places = kOnCommandLine | kInRoute,
     .value = "ADDR",
     .help = "Forward them there: HOST:PORT, [IPV6]:PORT, :PORT, unix:/path, unix:@name, "
             "file:/path (each client is sent the file), discard: or echo:."},
    {.name = "name",
     .kind = OptionKind::name,
     .places = kInRoute,
     .value = "NAME",
     .help = "The name of the route in the log."},
    {.name = "config",
     .kind = OptionKind::path,
     .places = kOnCommandLine,
     .value = "FILE",
     .help = "Read routes and defaults from this TOML file of at most 1MiB; - is stdin."},
    {.name = "check",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .help = "Check the configuration and this machine, and exit with 0 or 1."},
    {.name = "zero-copy",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::zero_copy,
     .value = "MODE",
     .default_text = "auto",
     .choices = kZeroCopies,
     .help = "Move bytes through a pipe without copying them: auto does so while a stream is "
             "large."},
    {.name = "congestion",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::congestion,
     .value = "MODE",
     .default_text = "auto",
     .choices = kCongestions,
     .help = "Choose TCP's congestion control: auto takes reno on loopback, where a paced one "
             "(bbr) only idles, and the system's everywhere else."},
    {.name = "connect-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::connect_timeout,
     .value = "DURATION",
     .default_text = "5s",
     .lowest = kShortestTimeout,
     .highest = kLongestConnectTimeout,
     .help = "Give up on connecting to the target, or on opening its file, after this time."},
    {.name = "idle-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::idle_timeout,
     .value = "DURATION",
     .default_text = "1h",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .zero = "never",
     .help = "End a connection after this time without a byte in either direction."},
    {.name = "half-close-timeout",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::half_close_timeout,
     .value = "DURATION",
     .default_text = "30s",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .zero = "never",
     .help = "When one side has ended, end the other after this time without a byte."},
    {.name = "capture",
     .kind = OptionKind::path,
     .places = kEverywhere,
     .field = &RouteConfig::capture,
     .value = "DIR",
     .default_text = "nothing is recorded",
     .help = "Record what is forwarded to segment files in this directory, which is created if it "
             "is missing; see sluice-capture(1)."},
    {.name = "durability",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::durability,
     .value = "LEVEL",
     .default_text = "batch",
     .choices = kDurabilities,
     .help = "Flush what is recorded to stable storage: when a segment is full (none), every "
             "--sync-interval, with each block (batch), or before it is forwarded."},
    {.name = "capture-full",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::capture_full,
     .value = "POLICY",
     .default_text = "auto",
     .choices = kCaptureFulls,
     .help =
         "When the disk does not keep up: block lets forwarding wait, drop forwards and records "
         "a gap, close ends the connection; auto blocks with batch and before-forward, and "
         "drops otherwise."},
    {.name = "capture-exact",
     .kind = OptionKind::flag,
     .places = kEverywhere,
     .field = &RouteConfig::capture_exact,
     .default_text = "off",
     .help =
         "Forward the recorded copy, so that both are the same even if a sender on this host "
         "alters pages that it has given to sendfile or splice; always so with before-forward."},
    {.name = "capture-io",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::capture_io,
     .value = "MODE",
     .default_text = "auto",
     .choices = kCaptureIos,
     .help = "Write past the page cache wherever the filesystem can (auto), or through it, which "
             "costs far more CPU."},
    {.name = "capture-direction",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::capture_direction,
     .value = "SIDE",
     .default_text = "both",
     .choices = kDirections,
     .help = "Record what this side sends."},
    {.name = "capture-limit",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .field = &RouteConfig::capture_limit_bytes,
     .value = "SIZE",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostBytes,
     .zero = "no limit",
     .help = "Record so many bytes of each connection and direction; the rest is a gap."},
    {.name = "flush-interval",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::flush_interval,
     .value = "DURATION",
     .default_text = "10ms",
     .lowest = kShortestFlush,
     .highest = kLongestFlush,
     .help = "Write a block that is not full after this time; before-forward never waits."},
    {.name = "sync-interval",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::sync_interval,
     .value = "DURATION",
     .default_text = "1s",
     .lowest = kShortestTimeout,
     .highest = kLongestTimeout,
     .help = "With --durability interval, flush what was written this often."},
    {.name = "segment-size",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .field = &RouteConfig::segment_size_bytes,
     .value = "SIZE",
     .default_text = "256MiB",
     .lowest = kSmallestSegment,
     .highest = kLargestSegment,
     .help = "Begin a new segment file at this size, which is allocated ahead."},
    {.name = "segment-time",
     .kind = OptionKind::duration,
     .places = kEverywhere,
     .field = &RouteConfig::segment_time,
     .value = "DURATION",
     .default_text = "1m",
     .lowest = kSecond,
     .highest = kLongestTimeout,
     .help = "Seal a segment file after this time, if anything was recorded."},
    {.name = "retain-size",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .field = &RouteConfig::retain_size_bytes,
     .value = "SIZE",
     .default_text = "0",
     .lowest = 1,
     .highest = kMostBytes,
     .zero = "all",
     .help = "Keep at most so much in sealed segments, and delete the oldest beyond."},
    {.name = "retain-age",
     .kind = OptionKind::duration,
     .places = kEverywhere,
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
     .field = &RouteConfig::mirrors,
     .value = "ADDR",
     .default_text = "nothing is mirrored",
     .repeated = true,
     .help = "Send what clients send there as well, and throw the answers away: HOST:PORT, "
             "[IPV6]:PORT, :PORT, unix:/path or unix:@name; may be given more than once. "
             "Forwarding never waits for a mirror."},
    {.name = "mirror-max-lag",
     .kind = OptionKind::size,
     .places = kEverywhere,
     .field = &RouteConfig::mirror_max_lag_bytes,
     .value = "SIZE",
     .default_text = "4MiB",
     .lowest = kLeastMirrorLag,
     .highest = kMostMirrorLag,
     .help = "Hold so much of a connection that its mirror has not taken yet; see also "
             "--mirror-buffers."},
    {.name = "mirror-on-lag",
     .kind = OptionKind::choice,
     .places = kEverywhere,
     .field = &RouteConfig::mirror_on_lag,
     .value = "POLICY",
     .default_text = "disconnect",
     .choices = kOnLags,
     .help = "Beyond that, end this connection's mirror with a reset (disconnect), and besides "
             "mirror no new connection until the others have caught up (shed)."},
    {.name = "mirror-sample",
     .kind = OptionKind::fraction,
     .places = kEverywhere,
     .field = &RouteConfig::mirror_sample,
     .value = "SHARE",
     .default_text = "1",
     .lowest = 1,
     .highest = mirror::kWholeShare,
     .help = "Mirror this share of the connections, chosen by a hash of the client's address and "
             "port, as in 0.1."},
    {.name = "drain-timeout",
     .kind = OptionKind::duration,
     .places = kGlobal,
     .field = &Config::drain_timeout,
     .value = "DURATION",
     .default_text = "30s",
     .lowest = kShortestTimeout,
     .highest = kLongestDrainTimeout,
     .zero = "at once",
     .help = "On SIGTERM or SIGINT, end the connections that are left after this time."},
    {.name = "workers",
     .kind = OptionKind::count,
     .places = kGlobal,
     .field = &Config::workers,
     .value = "N",
     .default_text = "one for each CPU",
     .lowest = 1,
     .highest = kMostWorkers,
     .help = "Forward on this many threads."},
    {.name = "engine",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .field = &Config::engine,
     .value = "ENGINE",
     .default_text = "auto",
     .choices = kEngines,
     .help = "Wait for sockets with io_uring or with epoll: auto takes io_uring where the kernel "
             "allows it."},
    {.name = "max-connections",
     .kind = OptionKind::count,
     .places = kGlobal,
     .field = &Config::max_connections,
     .value = "N",
     .default_text = "100000",
     .lowest = 1,
     .highest = kMostConnections,
     .help = "Forward at most this many connections at a time, over all routes."},
    {.name = "cpu-affinity",
     .kind = OptionKind::cpus,
     .places = kGlobal,
     .field = &Config::cpu_affinity,
     .value = "CPUS",
     .default_text = "auto",
     .highest = CPU_SETSIZE - 1,
     .help = "Pin the workers to these CPUs and steer connections to the CPU they arrive on."},
    {.name = "pipe-size",
     .kind = OptionKind::size,
     .places = kGlobal,
     .field = &Config::pipe_size_bytes,
     .value = "SIZE",
     .default_text = "1MiB",
     .lowest = kSmallestPipeBytes,
     .highest = kLargestPipeBytes,
     .help = "Ask the kernel for pipes of this size, which it rounds up to a power of two; without "
             "privileges it grants at most fs.pipe-max-size."},
    {.name = "pipe-budget",
     .kind = OptionKind::count,
     .places = kGlobal,
     .field = &Config::pipe_budget_slots,
     .value = "SLOTS",
     .default_text = "65536",
     .lowest = kFewestSlots,
     .highest = kMostSlots,
     .help = "Hold pipes of at most this many slots in all, one for each 4KiB of their size; a "
             "slot can pin 32KiB of memory, and what finds no pipe is copied."},
    {.name = "capture-buffers",
     .kind = OptionKind::size,
     .places = kGlobal,
     .field = &Config::capture_buffers_bytes,
     .value = "SIZE",
     .default_text = "32MiB",
     .lowest = kLeastCaptureBuffers,
     .highest = kMostCaptureBuffers,
     .help = "Hold so much in each worker that is recorded and not yet on the disk, over all "
             "directories."},
    {.name = "mirror-buffers",
     .kind = OptionKind::size,
     .places = kGlobal,
     .field = &Config::mirror_buffers_bytes,
     .value = "SIZE",
     .default_text = "64MiB",
     .lowest = kLeastMirrorBuffers,
     .highest = kMostMirrorBuffers,
     .help = "Hold so much in each worker that mirrors have not taken yet; each mirror has an "
             "equal share of it."},
    {.name = "log-level",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .field = &Config::log_level,
     .value = "LEVEL",
     .default_text = "info",
     .choices = kLogLevels,
     .help = "Log what is at least this serious."},
    {.name = "log-format",
     .kind = OptionKind::choice,
     .places = kGlobal,
     .field = &Config::log_format,
     .value = "FORMAT",
     .default_text = "text",
     .choices = kLogFormats,
     .help = "Write each log line as text or as a JSON object."},
    {.name = "log-file",
     .kind = OptionKind::path,
     .places = kGlobal,
     .field = &Config::log_file,
     .value = "PATH",
     .default_text = "standard error",
     .help = "Append the log to this file, or print it to stdout if it is -; SIGHUP opens the file "
             "anew."},
    {.name = "version",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .help = "Print the version and exit."},
    {.name = "help",
     .kind = OptionKind::flag,
     .places = kOnCommandLine,
     .help = "Print this and exit."},
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
