#include "proxy/system/notify.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "iolib/base/address.h"
#include "iolib/base/text.h"
#include "proxy/system/environment.h"

namespace sluice {
namespace {

constexpr timeval kPatience{1, 0};
// The longest path of a unix socket; the name of an abstract one can be as long.
constexpr std::size_t kMostPath = 107;

std::string_view variable(const char* name) {
  const char* const set = std::getenv(name);
  return set == nullptr ? std::string_view() : std::string_view(set);
}

// systemd orders RELOADING=1 by this clock (CLOCK_MONOTONIC).
std::uint64_t monotonic_usec() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000;
}

std::string control_group_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/cgroup");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string status_line(std::string_view status) { return "STATUS=" + one_line(status) + "\n"; }

}  // namespace

Notify::Notify() : Notify(variable("NOTIFY_SOCKET")) {}

Notify::Notify(std::string_view socket) {
  if (socket.empty() || (socket.front() != '/' && socket.front() != '@')) return;
  if (socket.size() > kMostPath) return;
  OwnedFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return;
  static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience));
  to_ = make_endpoint(UnixEndpoint{std::string(socket)});
  socket_ = std::move(fd);
}

void Notify::send(std::string_view message) {
  if (!socket_) return;
  // By its address each time, because systemd may make the socket anew.
  while (::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL, to_.data(),
                  to_.size_bytes) < 0) {
    if (errno != EINTR) return;
  }
}

void Notify::ready(std::string_view status) { send("READY=1\n" + status_line(status)); }

void Notify::reloading() {
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_usec()) + "\n");
}

void Notify::stopping(std::string_view status) { send("STOPPING=1\n" + status_line(status)); }

void Notify::status(std::string_view status) { send(status_line(status)); }

void Notify::alive() { send("WATCHDOG=1\n"); }

void Notify::hand_over(pid_t pid) {
  send("MAINPID=" + std::to_string(pid) + "\n");
  socket_.reset();
}

bool is_in_own_unit(pid_t pid) {
  const std::string own = control_group_of("self");
  return !own.empty() && control_group_of(std::to_string(pid)) == own;
}

Duration take_watchdog_time() {
  const auto usec = number_of_variable("WATCHDOG_USEC");
  const std::string_view set = variable("WATCHDOG_PID");
  const auto pid = number_of_variable("WATCHDOG_PID");
  if (!set.empty() && pid != static_cast<std::uint64_t>(::getpid())) return Duration::zero();
  ::unsetenv("WATCHDOG_PID");
  // A year is as good as never.
  constexpr std::uint64_t kYear = std::uint64_t{365} * 24 * 3'600 * 1'000'000;
  if (!usec || *usec > kYear) return Duration::zero();
  return std::chrono::microseconds(*usec);
}

}  // namespace sluice
