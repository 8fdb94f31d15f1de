#include "tools/bench/calls.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include "iolib/base/text.h"
#include "tools/bench/contender.h"
#include "tools/bench/interrupt.h"
#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kCallEvent = "raw_syscalls:sys_enter";
constexpr int kControlFd = 3;  ///< in the tool
constexpr std::chrono::seconds kToolTimeout{10};
constexpr milliseconds kToolPoll{2};

// Whether this tracer has every thread of those processes that still run (proc_pid_status(5)), and
// at least one.
bool all_traced(const std::vector<pid_t>& processes, pid_t tracer) {
  const std::string wanted = "TracerPid:\t" + std::to_string(tracer);
  bool any = false;
  for (const pid_t process : processes) {
    std::error_code gone;
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task", gone)) {
      std::ifstream status(task.path() / "status");
      if (!status) continue;
      std::string line;
      while (std::getline(status, line) && line != wanted) {
      }
      if (line != wanted) return false;
      any = true;
    }
  }
  return any;
}

// No word has a space.
std::string command_of(CallTool tool, const std::vector<pid_t>& processes) {
  std::string list;
  for (const pid_t process : processes) {
    list += (list.empty() ? "" : ",") + std::to_string(process);
  }
  if (tool == CallTool::strace) return "strace -q -c -f -p " + list;
  const std::string control = std::to_string(kControlFd);
  return std::string("perf stat -x , -e ") + kCallEvent + " -p " + list +
         " -D -1 --control fd:" + control + ',' + control;
}

// The line of the output that says what went wrong.
std::string complaint(const std::string& output) {
  constexpr std::size_t kMost = 200;
  std::istringstream lines(output);
  std::string first;
  for (std::string line; std::getline(lines, line);) {
    if (first.empty()) first = line;
    if (line.find("ermission") != line.npos || line.find("not permitted") != line.npos) {
      return one_line(line.substr(0, kMost));
    }
  }
  return one_line(first.substr(0, kMost));
}

// Counts the calls of a process that makes none.
Result<> try_out(CallTool tool) {
  if (find_program(name_of(tool)).empty()) return Error{0, "not installed"};
  const pid_t child = ::fork();
  if (child < 0) return errno_error("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  Result<> tried;
  try {
    CallCounter counter(tool);
    counter.begin({child});
    static_cast<void>(counter.end());
  } catch (const Failure& failure) {
    tried = Error{0, failure.what()};
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return tried;
}

}  // namespace

const char* name_of(CallTool tool) { return tool == CallTool::perf ? "perf" : "strace"; }

Result<CallTool> find_call_tool() {
  std::string reasons;
  for (const CallTool tool : {CallTool::perf, CallTool::strace}) {
    const Result<> tried = try_out(tool);
    if (tried.has_value()) return tool;
    reasons += (reasons.empty() ? "" : "; ") + std::string(name_of(tool)) + ": " +
               tried.error().to_string();
  }
  return Error{0, reasons};
}

std::optional<std::uint64_t> parse_calls(CallTool tool, const std::string& output) {
  // perf: COUNT,,raw_syscalls:sys_enter,...   strace: %  seconds  usecs/call  COUNT  [errors] total
  const bool perf = tool == CallTool::perf;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (perf ? line.find(kCallEvent) == line.npos : !line.ends_with(" total")) continue;
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < (perf ? 1 : 4); ++i) fields >> field;
    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), count);
    if (error == std::errc{}) return count;
    if (field.starts_with("<not")) return 0;
  }
  // Without calls, strace prints no table.
  if (!perf && output.empty()) return 0;
  return std::nullopt;
}

CallCounter::CallCounter(CallTool tool)
    : tool_(tool), output_(::memfd_create("calls", MFD_CLOEXEC)) {
  std::array<int, 2> ends{};
  if (!output_ || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    fail_errno("socketpair");
  }
  control_ = OwnedFd(ends[0]);
  const OwnedFd theirs(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output_.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output_.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), kControlFd);
  // A group of its own: a terminal's ^C does not reach it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::array<std::string, 3> words{"sh", "-c", "read -r line <&3 && exec $line"};
  const std::array<char*, 4> arguments{words[0].data(), words[1].data(), words[2].data(), nullptr};
  const int error =
      ::posix_spawn(&pid_, "/bin/sh", &actions, &attributes, arguments.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return;
  errno = error;
  fail_errno("/bin/sh");
}

CallCounter::~CallCounter() {
  if (ended()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void CallCounter::begin(const std::vector<pid_t>& processes) {
  send_line(command_of(tool_, processes));
  if (tool_ == CallTool::perf) return request("enable");
  wait_until_traced(processes);
}

void CallCounter::wait_until_traced(const std::vector<pid_t>& processes) {
  const auto deadline = steady_clock::now() + kToolTimeout;
  while (!all_traced(processes, pid_)) {
    if (ended() || steady_clock::now() > deadline) fail();
    check_interrupted();
    std::this_thread::sleep_for(kToolPoll);
  }
}

void CallCounter::send_line(const std::string& line) const {
  const std::string text = line + '\n';
  if (::send(control_.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) fail();
}

// perf answers each request with "ack\n", once it is carried out.
void CallCounter::request(const std::string& what) {
  send_line(what);
  const auto deadline = steady_clock::now() + kToolTimeout;
  for (std::string answer; answer.find('\n') == answer.npos;) {
    check_interrupted();
    if (steady_clock::now() > deadline) fail();
    pollfd polled{control_.get(), POLLIN, 0};
    if (::poll(&polled, 1, kStepMs) <= 0) continue;
    std::array<char, 64> chunk{};
    const ssize_t got = ::recv(control_.get(), chunk.data(), chunk.size(), 0);
    if (got <= 0) fail();
    answer.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

std::uint64_t CallCounter::end() {
  if (tool_ == CallTool::perf) request("disable");
  if (!ended()) ::kill(pid_, SIGINT);
  const auto deadline = steady_clock::now() + kToolTimeout;
  while (!ended()) {
    if (steady_clock::now() > deadline) fail();
    std::this_thread::sleep_for(kToolPoll);
  }
  const std::optional<std::uint64_t> calls = parse_calls(tool_, output());
  if (!calls) fail();
  return *calls;
}

bool CallCounter::ended() {
  if (pid_ != 0 && ::waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = 0;
  return pid_ == 0;
}

std::string CallCounter::output() const {
  struct stat file {};
  if (::fstat(output_.get(), &file) != 0) fail_errno("fstat");
  std::string text(static_cast<std::size_t>(file.st_size), '\0');
  const ssize_t got = ::pread(output_.get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

void CallCounter::fail() const {
  const std::string said = complaint(output());
  throw Failure(said.empty() ? "no answer" : said);
}

}  // namespace sluice::bench
