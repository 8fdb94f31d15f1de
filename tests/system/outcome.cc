#include "tests/system/outcome.h"

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tests/support/daemon.h"
#include "tests/support/regex.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice::test {

Outcome run_to_end(std::vector<std::string> arguments, const ProcessOptions& options) {
  arguments.insert(arguments.begin(), daemon_binary());
  Process process(std::move(arguments), options);
  const std::optional<int> status = process.wait(kLate);
  if (!status) throw std::runtime_error("sluice goes on:\n" + process.standard_error());
  return {*status, process.standard_output(), process.standard_error()};
}

std::string refusal(const std::vector<std::string>& arguments, int status,
                    const std::vector<std::string>& words, const ProcessOptions& options) {
  const Outcome outcome = run_to_end(arguments, options);
  std::string wrong;
  if (outcome.status != status) wrong += "status " + std::to_string(outcome.status) + "; ";
  if (lines_of(outcome.error).size() != 1 || !outcome.error.ends_with('\n')) {
    wrong += "not one line; ";
  }
  for (const std::string& word : words) {
    if (outcome.error.find(word) == std::string::npos) wrong += "no \"" + word + "\"; ";
  }
  return wrong.empty() ? wrong : wrong + "stderr: " + outcome.error;
}

ProcessOptions brief_lookups() {
  ProcessOptions options;
  options.environment = {"RES_OPTIONS=timeout:1 attempts:1"};
  return options;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    lines.emplace_back(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

std::string line_of(std::string_view log, std::string_view word) {
  std::string last;
  for (std::string& line : lines_of(log)) {
    if (line.find(word) != std::string::npos) last = std::move(line);
  }
  return last;
}

LogFields counters_of(Daemon& daemon) {
  const Regex counters("stats accepted=");
  const std::size_t before = count_lines(daemon.log(), counters);
  daemon.process().signal(SIGUSR1);
  const bool told = wait_until([&] { return count_lines(daemon.log(), counters) > before; });
  if (!told) throw std::runtime_error("no counters:\n" + daemon.log());
  return parse_text_line(line_of(daemon.log(), "stats accepted="));
}

std::string transfer(int from, int to, Pattern pattern, std::uint64_t size_bytes) {
  std::atomic<bool> sent = false;
  PatternChecker received(pattern);
  Ending ending = Ending::open;
  {
    const std::jthread sender([&] { sent = send_pattern(from, pattern, 0, size_bytes); });
    ending = read_pattern(to, received, {.stop_after_bytes = size_bytes, .timeout = kLate});
  }
  std::string wrong;
  if (!sent) wrong += "not all could be sent; ";
  if (ending != Ending::open) wrong += "the stream ended; ";
  if (received.received_bytes() != size_bytes) {
    wrong += "received " + std::to_string(received.received_bytes()) + " bytes; ";
  }
  if (received.mismatch()) wrong += "mismatch at " + std::to_string(*received.mismatch());
  return wrong;
}

bool echoes(int fd, std::chrono::nanoseconds timeout) {
  return send_all(fd, "?") && receive_text(fd, 1, timeout) == "?";
}

Ending ending_of(int fd) {
  std::byte byte{};
  return receive_some(fd, {&byte, 1}, kLate).ending;
}

Drip::Drip(int fd, std::string bytes)
    : fd_(fd), bytes_(std::move(bytes)), sender_([this](const std::stop_token& stop) {
        for (const char byte : bytes_) {
          if (stop.stop_requested()) return;
          if (!send_all(fd_, {&byte, 1})) {
            was_reset_ = errno == ECONNRESET;
            return;
          }
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
      }) {}

Ending Drip::ending() {
  const Ending received = ending_of(fd_);
  sender_.request_stop();
  sender_.join();
  return was_reset_ ? Ending::reset : received;
}

bool has_ipv6() {
  try {
    static_cast<void>(listen_tcp(1, {}, AF_INET6));
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

std::string copy_of_daemon(const TempDir& folder) {
  const std::string path = folder.file("sluice");
  std::filesystem::copy_file(daemon_binary(), path);
  std::filesystem::permissions(path, std::filesystem::perms{0755});
  return path;
}

}  // namespace sluice::test
