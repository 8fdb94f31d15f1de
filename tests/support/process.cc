#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tests/support/regex.h"
#include "tests/support/spawn.h"

namespace sluice::test {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// How long to wait for the output of an ended process. It is in the pipe already, unless a
/// grandchild lives on.
constexpr std::chrono::seconds kCaptureTail{2};

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? -WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/// Appends the bytes that are there; false at the end.
bool read_more(int fd, std::string& chunk) {
  chunk.resize(65536);
  const ssize_t got = ::read(fd, chunk.data(), chunk.size());
  chunk.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return got > 0 || (got < 0 && errno == EINTR);
}

}  // namespace

Process::Process(std::vector<std::string> argv, const ProcessOptions& options) {
  const std::string program = find_program(argv.at(0));
  if (program.empty()) throw std::runtime_error("no program " + argv.at(0));
  Spawned spawned = spawn(program, argv, options);
  pid_ = spawned.pid;
  output_.fd = std::move(spawned.output);
  error_.fd = std::move(spawned.error);
  pid_fd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  stop_.reset(::eventfd(0, EFD_CLOEXEC));
  reader_ = std::thread([this] { capture(); });
}

Process::~Process() {
  if (!status_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::eventfd_write(stop_.get(), 1);
  reader_.join();
}

void Process::signal(int number) const {
  if (!status_) ::kill(pid_, number);
}

std::optional<int> Process::wait(std::chrono::nanoseconds timeout) {
  if (status_) return status_;
  pollfd ended{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(timeout);
  if (::poll(&ended, 1, static_cast<int>(wait.count())) != 1) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  status_ = status_of(status);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kCaptureTail, [this] { return captured_; });
  return status_;
}

void Process::capture() {
  std::array<Stream*, 2> streams{&output_, &error_};
  std::array<pollfd, 3> polled{
      {{output_.fd.get(), POLLIN, 0}, {error_.fd.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  std::string chunk;
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    bool moved = false;
    for (std::size_t i = 0; i < streams.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      moved = true;
      if (!read_more(polled[i].fd, chunk)) polled[i].fd = -1;
      const std::lock_guard lock(mutex_);
      streams[i]->text += chunk;
      changed_.notify_all();
    }
    if (!moved && polled[2].revents != 0) break;
  }
  const std::lock_guard lock(mutex_);
  captured_ = true;
  changed_.notify_all();
}

std::string Process::text(const Stream& stream) const {
  const std::lock_guard lock(mutex_);
  return stream.text;
}

std::optional<std::string> Process::wait_for_line(const Stream& stream, const Regex& pattern,
                                                  std::size_t from,
                                                  std::chrono::nanoseconds timeout) const {
  const auto deadline = SteadyClock::now() + timeout;
  std::unique_lock lock(mutex_);
  for (;;) {
    for (std::size_t end = stream.text.find('\n', from); end != std::string::npos;
         end = stream.text.find('\n', from)) {
      std::string line = stream.text.substr(from, end - from);
      from = end + 1;
      if (pattern.is_in(line)) return line;
    }
    if (captured_ || changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return std::nullopt;
    }
  }
}

std::string find_program(std::string_view name) {
  if (name.find('/') != std::string_view::npos) {
    return ::access(std::string(name).c_str(), X_OK) == 0 ? std::string(name) : std::string();
  }
  const char* path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "";
  folders += ":/usr/bin:/bin:/usr/sbin:/sbin";
  std::error_code ignored;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
    folders += ':' + version.path().string() + "/bin";
  }
  for (std::size_t at = 0; at < folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string candidate = folders.substr(at, end - at) + '/' + std::string(name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return {};
}

std::vector<std::string> lines_with(const std::string& text, const Regex& pattern) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (pattern.is_in(line)) found.push_back(std::move(line));
    at = end + 1;
  }
  return found;
}

std::size_t count_lines(const std::string& text, const Regex& pattern) {
  return lines_with(text, pattern).size();
}

std::string tracing_refused() {
  Process probe({"strace", "-o", "/dev/null", "true"});
  if (probe.wait() == 0) return {};
  return "its status is not 0: " + probe.standard_error();
}

}  // namespace sluice::test
