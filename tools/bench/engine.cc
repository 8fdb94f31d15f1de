#include "tools/bench/engine.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <exception>

#include "iolib/base/shortage.h"
#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

// The longest wait between two looks at whether the run has failed.
constexpr std::uint64_t kTickNs = 100'000'000;
constexpr std::size_t kEventsAtOnce = 256;

}  // namespace

std::uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kSecondNs +
         static_cast<std::uint64_t>(time.tv_nsec);
}

void wake_on_time() { ::prctl(PR_SET_TIMERSLACK, 1); }

void Control::enter(Phase phase) {
  if (phase == Phase::stop) stop_time_ = now_ns();
  phase_ = phase;
}

void Control::fail(const std::string& reason) {
  const std::lock_guard guard(lock_);
  if (reason_.empty()) reason_ = reason;
  failed_ = true;
  phase_ = Phase::stop;
}

std::string Control::reason() const {
  const std::lock_guard guard(lock_);
  return reason_;
}

void Control::check() const {
  if (failed()) throw Failure(reason());
}

Loop::Loop(Control& control)
    : control_(control),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      buffer_(kBufferBytes),
      events_(kEventsAtOnce) {
  if (!epoll_ || !wake_) fail_errno("epoll_create1");
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) fail_errno("epoll_ctl");
  thread_ = start_thread([this] { run(); });
}

Loop::~Loop() {
  if (!thread_.joinable()) return;
  control_.fail("ended early");
  wake();
  join();
}

void Loop::wake() const {
  const std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

void Loop::add(std::unique_ptr<Connection> connection) {
  {
    const std::lock_guard guard(lock_);
    added_.push_back(std::move(connection));
  }
  // The loop's own thread takes new connections before it waits.
  if (std::this_thread::get_id() != thread_.get_id()) wake();
}

void Loop::stop() {
  stopping_ = true;
  wake();
}

void Loop::join() {
  if (thread_.joinable()) thread_.join();
}

void Loop::run() {
  wake_on_time();
  try {
    serve();
  } catch (const std::exception& error) {
    control_.fail(error.what());
  }
  connections_.clear();
  finished_ = true;
}

void Loop::serve() {
  while (!control_.failed()) {
    take_new();
    if (!stopped_ && stopping_) {
      stopped_ = true;
      for (std::size_t i = connections_.size(); i-- > 0;) {
        keep_or_finish(*connections_[i], connections_[i]->on_stop());
      }
    }
    if (stopped_ && connections_.empty()) return;
    ring_alarms();
    wait();
  }
}

void Loop::wait() {
  std::uint64_t timeout = kTickNs;
  if (!alarms_.empty()) {
    const std::uint64_t now = now_ns();
    const std::uint64_t next = alarms_.begin()->first;
    timeout = std::min(timeout, next > now ? next - now : 0);
  }
  const timespec limit{.tv_sec = 0, .tv_nsec = static_cast<long>(timeout)};
  const int count = ::epoll_pwait2(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                                   &limit, nullptr);
  if (count < 0 && errno != EINTR) fail_errno("epoll_pwait2");
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    if (event.data.ptr == nullptr) {
      std::uint64_t calls = 0;
      static_cast<void>(::read(wake_.get(), &calls, sizeof calls));
    } else {
      auto& connection = *static_cast<Connection*>(event.data.ptr);
      keep_or_finish(connection, connection.on_ready(event.events));
    }
  }
}

void Loop::take_new() {
  std::vector<std::unique_ptr<Connection>> added;
  {
    const std::lock_guard guard(lock_);
    added.swap(added_);
  }
  for (auto& each : added) {
    Connection& connection = *each;
    connection.loop_ = this;
    connections_.push_back(std::move(each));
    epoll_event event{.events = connection.interest_, .data = {.ptr = &connection}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd(), &event) != 0) {
      fail_errno("epoll_ctl add");
    }
    keep_or_finish(connection, connection.start() && (!stopped_ || connection.on_stop()));
  }
}

void Loop::ring_alarms() {
  if (alarms_.empty()) return;
  const std::uint64_t now = now_ns();
  while (!alarms_.empty() && alarms_.begin()->first <= now) {
    Connection& connection = *alarms_.begin()->second;
    set_alarm(connection, 0);
    keep_or_finish(connection, connection.on_alarm(now));
  }
}

OwnedFd Loop::release_fd(Connection& connection) const {
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd(), nullptr) != 0) {
    fail_errno("epoll_ctl del");
  }
  return std::move(connection.fd_);
}

void Loop::set_interest(Connection& connection, std::uint32_t events) {
  if (connection.interest_ == events) return;
  connection.interest_ = events;
  epoll_event event{.events = events, .data = {.ptr = &connection}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd(), &event) != 0) {
    fail_errno("epoll_ctl mod");
  }
}

void Loop::set_alarm(Connection& connection, std::uint64_t time) {
  if (connection.alarm_ != 0) alarms_.erase({connection.alarm_, &connection});
  connection.alarm_ = time;
  if (time != 0) alarms_.insert({time, &connection});
}

// Removes a finished connection by swapping it with the last one.
void Loop::keep_or_finish(Connection& connection, bool keep) {
  if (keep) return;
  set_alarm(connection, 0);
  const auto at = std::find_if(connections_.begin(), connections_.end(),
                               [&](const auto& each) { return each.get() == &connection; });
  std::swap(*at, connections_.back());
  connections_.pop_back();
}

}  // namespace sluice::bench
