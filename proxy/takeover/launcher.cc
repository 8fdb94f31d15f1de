#include "proxy/takeover/launcher.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "iolib/base/shortage.h"

namespace sluice::takeover {
namespace {

// Between a process's end and the end of its link, which says more.
constexpr Duration kLinkTime = std::chrono::milliseconds(500);
// How often a process is looked at whose end cannot be awaited.
constexpr Duration kExitLook = std::chrono::seconds(1);

// What systemd gave to this process alone, and what told it where to ask.
constexpr std::string_view kOwnVariables[] = {
    "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "WATCHDOG_PID=", "SLUICE_TAKEOVER_SOCKET="};

std::vector<std::string> environment_with(const std::string& socket) {
  std::vector<std::string> environment;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable = *each;
    const bool is_own = std::ranges::any_of(
        kOwnVariables, [&](std::string_view name) { return variable.starts_with(name); });
    if (!is_own) environment.emplace_back(variable);
  }
  environment.push_back(std::string(kSocketVariable) + "=" + socket);
  return environment;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& each : texts) pointers.push_back(each.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status)) + " ended it";
  return "it exited with status " + std::to_string(WEXITSTATUS(status)) + "; its log says why";
}

// Where a shell finds a program: at its path, or in the folders of $PATH.
std::vector<std::filesystem::path> places_of(const std::string& name) {
  std::vector<std::filesystem::path> places;
  if (name.find('/') != name.npos) {
    places.emplace_back(name);
  } else if (const char* const folders = std::getenv("PATH"); folders != nullptr) {
    std::istringstream text(folders);
    for (std::string each; std::getline(text, each, ':');) {
      places.push_back(std::filesystem::path(each) / name);
    }
  }
  return places;
}

}  // namespace

std::string own_program(const std::string& started_as) {
  constexpr const char* kSelf = "/proc/self/exe";
  std::error_code error;
  for (const std::filesystem::path& place : places_of(started_as)) {
    if (!std::filesystem::equivalent(place, kSelf, error)) continue;
    const std::filesystem::path path = std::filesystem::absolute(place, error);
    if (!error) return path.string();
  }
  return std::filesystem::read_symlink(kSelf, error).string();
}

Launcher::Launcher(std::string program, std::vector<std::string> arguments, Duration patience)
    : program_(std::move(program)), arguments_(std::move(arguments)), patience_(patience) {
  std::erase(arguments_, "--takeover");
  arguments_.emplace_back("--takeover");
}

void Launcher::launch(const std::string& socket, const Done& done) {
  {
    const std::lock_guard lock(mutex_);
    if (done_) return done(0, "another takeover is going on");
    done_ = done;
    pid_ = 0;
  }
  if (thread_.joinable()) {
    // Its process has failed, and ends.
    stop_.stop();
    thread_.join();
    stop_.clear();
  }
  std::unique_lock lock(mutex_);
  const Result<pid_t> started = start(socket);
  if (started.has_error()) {
    done_ = {};
    lock.unlock();
    return done(0, started.error().to_string());
  }
  pid_ = *started;
  const Result<> awaited = or_shortage([this]() -> Result<> {
    thread_ = start_thread([this, pid = pid_] {
      pthread_setname_np(pthread_self(), "launcher");
      await_exit(pid);
    });
    return {};
  });
  if (awaited.has_value()) return;
  // It has hardly begun.
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  done_ = {};
  lock.unlock();
  done(0, awaited.error().to_string());
}

void Launcher::tell(pid_t pid, const std::string& reason) {
  std::unique_lock lock(mutex_);
  if (pid != pid_ || !done_) return;
  const Done done = std::exchange(done_, {});
  lock.unlock();
  done(pid, reason);
}

void Launcher::end() {
  {
    const std::lock_guard lock(mutex_);
    done_ = {};
  }
  stop_.stop();
  if (thread_.joinable()) thread_.join();
}

Result<pid_t> Launcher::start(const std::string& socket) const {
  std::vector<std::string> arguments = arguments_;
  std::vector<std::string> environment = environment_with(socket);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int each : {SIGPIPE, SIGXFSZ}) sigaddset(&signals, each);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program_.c_str(), nullptr, &attributes,
                                  pointers_to(arguments).data(), pointers_to(environment).data());
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return Error{error, "start " + program_};
  return {boost::system::in_place_value, pid};
}

// Reaps the process, whenever it ends.
void Launcher::await_exit(pid_t pid) {
  const OwnedFd process = open_process(pid);
  TimePoint given_up = Clock::now() + patience_;
  int status = 0;
  while (true) {
    pollfd fds[] = {{stop_.fd(), POLLIN, 0}, {process.get(), POLLIN, 0}};
    const Duration look = process ? Duration(std::chrono::hours(1)) : kExitLook;
    wait_for(fds, std::min(given_up, Clock::now() + look));
    if (fds[0].revents != 0) return;
    if (::waitpid(pid, &status, WNOHANG) == pid) break;
    if (Clock::now() < given_up) continue;
    given_up = TimePoint::max();
    tell(pid, "it did not take over in time");
  }
  pollfd stop[] = {{stop_.fd(), POLLIN, 0}};
  wait_for(stop, Clock::now() + kLinkTime);
  tell(pid, describe_exit(status));
}

}  // namespace sluice::takeover
