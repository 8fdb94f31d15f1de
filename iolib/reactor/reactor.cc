#include "iolib/reactor/reactor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace sluice {

Reactor::Reactor() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
Reactor::~Reactor() = default;

Result<> Reactor::check_mailbox() const {
  if (!wake_) return Error{EMFILE, "eventfd"};
  return {};
}

void Reactor::prepare(Operation& operation, int fd, std::uint8_t kind) {
  operation.fd_ = fd;
  operation.kind_ = kind;
  operation.in_flight_ = true;
  operation.cancelled_ = false;
}

void Reactor::post(std::function<void()> work) {
  {
    const std::lock_guard guard(posted_lock_);
    posted_.push_back(std::move(work));
  }
  // Fails only when 2^64 - 2 wake-ups are outstanding, and then the loop is awake.
  const std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

void Reactor::stop() {
  post([this] { stopping_ = true; });
}

void Reactor::run() {
  if (!mailbox_.in_flight()) wait_readable(wake_.get(), mailbox_);
  while (!stopping_) {
    std::optional<TimePoint> deadline;
    if (!timers_.empty()) deadline = timers_.next();
    turn(deadline);
    timers_.expire(now_);
  }
  stopping_ = false;
}

void Reactor::Mailbox::complete(const Completion& /*completion*/) {
  std::uint64_t wakes = 0;
  static_cast<void>(::read(reactor_.wake_.get(), &wakes, sizeof wakes));
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard guard(reactor_.posted_lock_);
    posted.swap(reactor_.posted_);
  }
  for (const auto& work : posted) work();
  reactor_.wait_readable(reactor_.wake_.get(), *this);
}

void Reactor::Wait::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  reactor_.set_timer(*this, until_);
  if (for_ == For::writing) {
    reactor_.wait_writable(descriptor_, *this);
  } else {
    reactor_.wait_readable(descriptor_, *this);
  }
}

void Reactor::Wait::complete(const Completion& completion) {
  reactor_.cancel_timer(*this);
  result_ = timed_out_ && completion.result == -ECANCELED ? -ETIMEDOUT : completion.result;
  waiter_.resume();
}

void Reactor::Wait::expired() {
  timed_out_ = true;
  reactor_.cancel(*this);
}

}  // namespace sluice
