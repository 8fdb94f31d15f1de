#include "tests/support/daemon.h"

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

/// The daemon is quiet if, several windows in a row, it uses less than a twentieth of a CPU and
/// wakes up at most kQuietTurns times. A timer now and then is allowed. A daemon that has bytes to
/// move always exceeds this. One that spins on a busy machine has to wait for a CPU sometimes, but
/// not in every window.
constexpr std::chrono::milliseconds kQuietWindow{60};
constexpr int kQuietShare = 20;
constexpr std::uint64_t kQuietTurns = 4;
constexpr int kQuietWindows = 3;

std::vector<std::string> command(const std::string& binary, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), binary.empty() ? daemon_binary() : binary);
  return arguments;
}

std::optional<Listening> parse_listening(std::string_view line) {
  const LogFields fields = parse_text_line(line);
  const std::optional<LogFields> json = parse_json_line(line);
  const LogFields& used = json ? *json : fields;
  const auto address = used.find("address");
  if (line.find("listening") == std::string_view::npos || address == used.end()) return {};
  Listening result;
  result.address = address->second;
  if (const auto route = used.find("route"); route != used.end()) result.route = route->second;
  const std::size_t colon = result.address.rfind(':');
  if (colon != std::string::npos) {
    const char* end = result.address.data() + result.address.size();
    std::from_chars(result.address.data() + colon + 1, end, result.port);
  }
  return result;
}

template <class Use>
void for_each_fd(pid_t pid, Use use) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone);
    if (!gone) use(std::atoi(entry.path().filename().c_str()), target.string());
  }
}

}  // namespace

std::string daemon_binary() {
  const char* path = std::getenv("SLUICE_BINARY");
  if (path == nullptr) throw std::runtime_error("SLUICE_BINARY must name the daemon to test");
  return std::filesystem::absolute(path).string();
}

Daemon::Daemon(std::vector<std::string> arguments, DaemonOptions options)
    : process_(command(options.binary, std::move(arguments)), options.process),
      log_file_(std::move(options.log_file)) {
  wait_for_listeners(options.listeners);
  // A daemon that does not listen may be blocked on purpose.
  if (sanitized()) wait_for_control(options.listeners > 0 ? kPatience : std::chrono::seconds(2));
}

// Waits until the control thread waits for signals. Under ThreadSanitizer, whose runtime stands
// between the kernel and a handler, an earlier signal is lost in one start of a hundred.
void Daemon::wait_for_control(std::chrono::nanoseconds timeout) {
  const std::string folder = "/proc/" + std::to_string(process_.pid());
  static_cast<void>(wait_until(
      [&] {
        std::uint64_t blocked = ~std::uint64_t{0};
        std::ifstream status(folder + "/status");
        char state = '?';
        for (std::string word; status >> word;) {
          if (word == "State:") status >> state;
          if (word == "SigBlk:") status >> std::hex >> blocked;
        }
        const bool unblocked = (blocked >> (SIGTERM - 1) & 1) == 0;
        return (unblocked && state == 'S') || !process_.running();
      },
      timeout));
}

void Daemon::wait_for_listeners(std::size_t count) {
  const bool ready = wait_until([&] {
    listening_.clear();
    const std::string text = log();
    for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos;
         at = end + 1) {
      if (auto found = parse_listening(std::string_view(text).substr(at, end - at))) {
        listening_.push_back(std::move(*found));
      }
    }
    return listening_.size() >= count || !process_.running();
  });
  if (!ready || listening_.size() < count)
    throw std::runtime_error("sluice does not listen:\n" + log());
}

std::uint16_t Daemon::port_of(std::string_view route) const {
  for (const Listening& listening : listening_) {
    if (listening.route == route) return listening.port;
  }
  throw std::runtime_error("no listener of route " + std::string(route));
}

std::string Daemon::log() const {
  return log_file_.empty() ? process_.standard_error() : read_text(log_file_);
}

bool Daemon::wait_for_log(const Regex& pattern, std::chrono::nanoseconds timeout) const {
  return wait_until([&] { return count_lines(log(), pattern) > 0; }, timeout);
}

std::vector<ConnectionEnd> Daemon::wait_for_ends(std::size_t count,
                                                 std::chrono::nanoseconds timeout) const {
  std::vector<ConnectionEnd> ends;
  static_cast<void>(wait_until(
      [&] {
        ends = connection_ends(log());
        return ends.size() >= count;
      },
      timeout));
  return ends;
}

std::size_t Daemon::fd_count() const {
  std::size_t count = 0;
  for_each_fd(process_.pid(), [&](int, const std::string&) { ++count; });
  return count;
}

std::size_t Daemon::pipe_fd_count() const {
  std::size_t count = 0;
  for_each_fd(process_.pid(), [&](int fd, const std::string& target) {
    count += fd > STDERR_FILENO && target.starts_with("pipe:") ? 1U : 0U;
  });
  return count;
}

std::uint64_t Daemon::pss_bytes() const {
  std::ifstream rollup("/proc/" + std::to_string(process_.pid()) + "/smaps_rollup");
  std::string word;
  while (rollup >> word) {
    std::uint64_t kibibytes = 0;
    if (word == "Pss_Anon:" && rollup >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

Daemon::Usage Daemon::usage() const {
  Usage total;
  const std::string folder = "/proc/" + std::to_string(process_.pid()) + "/task";
  std::error_code ignored;
  for (const auto& task : std::filesystem::directory_iterator(folder, ignored)) {
    std::ifstream schedstat(task.path() / "schedstat");
    std::uint64_t ran = 0;
    std::uint64_t waited = 0;
    std::uint64_t turns = 0;
    if (!(schedstat >> ran >> waited >> turns)) continue;
    total.cpu += std::chrono::nanoseconds(ran);
    total.turns += turns;
  }
  return total;
}

bool Daemon::wait_until_quiet(std::chrono::nanoseconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  int quiet_windows = 0;
  while (quiet_windows < kQuietWindows) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    const auto began = std::chrono::steady_clock::now();
    const Usage before = usage();
    std::this_thread::sleep_for(kQuietWindow);
    const Usage now = usage();
    // On a busy machine the window was longer.
    const auto time = std::chrono::steady_clock::now() - began;
    const auto windows = static_cast<std::uint64_t>(time / kQuietWindow);
    const bool quiet = (now.cpu - before.cpu) * kQuietShare < time &&
                       now.turns <= before.turns + kQuietTurns * windows;
    quiet_windows = quiet ? quiet_windows + 1 : 0;
  }
  return true;
}

std::optional<int> Daemon::terminate(std::chrono::nanoseconds timeout) {
  process_.signal(SIGTERM);
  return process_.wait(timeout);
}

Forwarded forward(std::uint16_t port, int upstream, SocketOptions client_options,
                  SocketOptions upstream_options) {
  Forwarded pair;
  pair.client = connect_tcp(port, client_options);
  pair.upstream = accept_from(upstream, kPatience, upstream_options);
  return pair;
}

std::string loopback_address(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace sluice::test
