#include "tests/system/mirror_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <span>
#include <utility>

#include "tests/support/daemon.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

constexpr int kPollMs = 10;
constexpr std::size_t kReadBytes = 256 << 10;

}  // namespace

MirrorServer::MirrorServer() : listener_(listen_tcp()), thread_([this] { serve(); }) {}

MirrorServer::~MirrorServer() {
  stopping_ = true;
  thread_.join();
}

std::string MirrorServer::address() const { return loopback_address(port()); }

MirrorServer::Stream& MirrorServer::accept(Pattern expected) {
  OwnedFd fd = accept_from(listener_.fd.get(), kLate);
  set_nonblocking(fd.get(), true);
  const std::lock_guard guard(lock_);
  return streams_.emplace_back(std::move(fd), expected);
}

bool MirrorServer::nobody_waits() const {
  return !readable_within(listener_.fd.get(), std::chrono::nanoseconds(0));
}

bool MirrorServer::wait_for_ends() {
  return wait_until(
      [this] {
        const std::lock_guard guard(lock_);
        for (const Stream& stream : streams_) {
          if (!stream.done) return false;
        }
        return true;
      },
      kLate);
}

void MirrorServer::serve() {
  std::vector<pollfd> polled;
  std::vector<Stream*> live;
  while (!stopping_) {
    polled.clear();
    live.clear();
    {
      const std::lock_guard guard(lock_);
      for (Stream& stream : streams_) {
        if (stream.done) continue;
        live.push_back(&stream);
        polled.push_back({.fd = stream.fd.get(), .events = POLLIN, .revents = 0});
      }
    }
    ::poll(polled.data(), polled.size(), kPollMs);
    for (std::size_t i = 0; i < live.size(); ++i) {
      if (polled[i].revents != 0) step(*live[i]);
    }
  }
}

void MirrorServer::step(Stream& stream) {
  static thread_local std::vector<std::byte> buffer(kReadBytes);
  const ssize_t got = ::recv(stream.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got > 0) {
    const std::span bytes = std::span(buffer).first(static_cast<std::size_t>(got));
    stream.received.take(bytes);
    // An answer that must not reach the client. If a reset came meanwhile, this call gets the
    // error, and no later receive does.
    const ssize_t sent =
        ::send(stream.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    stream.reset_seen |= sent < 0 && errno == ECONNRESET;
    return;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  stream.ending = got == 0 && !stream.reset_seen ? Ending::eof : Ending::reset;
  stream.fd.reset();
  stream.done = true;
}

StuckServer::StuckServer(std::size_t keeps, std::chrono::milliseconds for_at_least)
    : keeps_(keeps),
      for_at_least_(for_at_least),
      listener_(listen_tcp()),
      thread_([this] { serve(); }) {}

StuckServer::~StuckServer() { stop(); }

void StuckServer::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  listener_.fd.reset();
}

std::string StuckServer::address() const { return loopback_address(listener_.port); }

void StuckServer::serve() {
  set_nonblocking(listener_.fd.get(), true);
  using Clock = std::chrono::steady_clock;
  std::deque<std::pair<Clock::time_point, OwnedFd>> kept;
  while (!stopping_) {
    while (kept.size() > keeps_ && Clock::now() >= kept.front().first + for_at_least_) {
      reset(std::move(kept.front().second));
      kept.pop_front();
    }
    if (!readable_within(listener_.fd.get(), std::chrono::milliseconds(kPollMs))) continue;
    OwnedFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    ++accepted_;
    kept.emplace_back(Clock::now(), std::move(fd));
  }
}

}  // namespace sluice::test
