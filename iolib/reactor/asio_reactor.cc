#include "iolib/reactor/asio_reactor.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/bind_allocator.hpp>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <memory_resource>
#include <utility>

#include "iolib/base/readiness.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

// Longer waits than this end early and continue with the next turn.
constexpr milliseconds kLongestWait = 1h;
// A deadline that is at least this far away needs no exact timer yet.
constexpr milliseconds kFar = 2ms;
// The most connections accepted from one listener in a turn.
constexpr int kAcceptsPerTurn = 64;

// Events that a reading request waits for. EPOLLERR and EPOLLHUP are always included in a set.
constexpr std::uint32_t kInput = EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP;
// With these, a receive may stop before the last byte: before an urgent byte, or an end.
constexpr std::uint32_t kMixed = EPOLLPRI | EPOLLRDHUP | EPOLLERR | EPOLLHUP;
constexpr std::uint32_t kBroken = EPOLLERR | EPOLLHUP;

}  // namespace

Result<std::unique_ptr<AsioReactor>> AsioReactor::create() {
  // Asio throws if it gets no descriptors of its own.
  try {
    std::unique_ptr<AsioReactor> reactor(new AsioReactor);
    if (Result<> opened = reactor->open(); opened.has_error()) return opened.error();
    return reactor;
  } catch (const boost::system::system_error& error) {
    return Error{error.code().value(), "epoll_create"};
  }
}

AsioReactor::AsioReactor() : buffer_(kReceiveBytes) {}

Result<> AsioReactor::open() {
  if (Result<> mailbox = check_mailbox(); mailbox.has_error()) return mailbox;
  set_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!set_) return errno_error("epoll_create1");
  boost::system::error_code error;
  set_stream_.assign(set_.get(), error);
  if (error) return Error{error.value(), "epoll_ctl"};
  return {};
}

// Asio only borrows the descriptor and must not close it.
AsioReactor::~AsioReactor() {
  if (set_stream_.is_open()) set_stream_.release();
}

// --- Requests ---

void AsioReactor::receive(int fd, Operation& operation, std::size_t max_bytes) {
  operation.max_bytes_ = static_cast<std::uint32_t>(max_bytes);
  request(fd, operation, kReceive);
}

void AsioReactor::wait_readable(int fd, Operation& operation) { request(fd, operation, kReadable); }
void AsioReactor::wait_end(int fd, Operation& operation) { request(fd, operation, kEnd); }
void AsioReactor::wait_writable(int fd, Operation& operation) { request(fd, operation, kWritable); }
void AsioReactor::watch_errors(int fd, Operation& operation) { request(fd, operation, kWatch); }
void AsioReactor::accept(int listener, Operation& operation) {
  request(listener, operation, kAccept);
}
void AsioReactor::accept_one(int listener, Operation& operation) {
  request(listener, operation, kAcceptOne);
}

void AsioReactor::request(int fd, Operation& operation, Kind kind) {
  prepare(operation, fd, kind);
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size()) descriptors_.resize(index + 1);
  const bool takes_input = kind == kReceive || kind == kAccept || kind == kAcceptOne;
  // No event will report what is already there: the next turn tries.
  const bool tries = takes_input && descriptors_[index].input != Input::none;
  if (tries || begin(operation) != 0) later_.add(operation);
}

// Makes events report what the operation waits for. Returns 0 or an errno. If the descriptor may
// already be ready, epoll_ctl looks, and reports that as an event, too.
int AsioReactor::begin(Operation& operation) {
  Descriptor& descriptor = descriptors_[static_cast<std::size_t>(operation.fd_)];
  Operation*& place = place_of(operation, descriptor);
  assert(place == nullptr);
  place = &operation;
  const bool is_new = descriptor.serial == 0;
  const bool looks = operation.kind_ == kWritable ||
                     (operation.kind_ == kReadable && descriptor.input != Input::none) ||
                     (operation.kind_ == kEnd && descriptor.input == Input::mixed) ||
                     (operation.kind_ == kWatch && descriptor.input == Input::mixed);
  if (!is_new && !looks) return 0;
  if (is_new && ++serials_ == 0) ++serials_;  // 0 says that it is not registered
  const std::uint32_t serial = is_new ? serials_ : descriptor.serial;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  if (descriptor.writer != nullptr) event.events |= EPOLLOUT;
  event.data.u64 = std::uint64_t{serial} << 32 | static_cast<std::uint32_t>(operation.fd_);
  const int change = is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(set_.get(), change, operation.fd_, &event) != 0) {
    place = nullptr;
    return errno;
  }
  descriptor.serial = serial;
  descriptor.input = Input::none;
  return 0;
}

Operation*& AsioReactor::place_of(const Operation& operation, Descriptor& descriptor) {
  switch (operation.kind_) {
    case kWritable:
      return descriptor.writer;
    case kWatch:
      return descriptor.watcher;
    default:
      return descriptor.reader;
  }
}

void AsioReactor::cancel(Operation& operation) {
  if (!operation.in_flight_ || operation.cancelled_) return;
  operation.cancelled_ = true;
  Operation*& place = place_of(operation, descriptors_[static_cast<std::size_t>(operation.fd_)]);
  if (place != &operation) return;  // it is in later_
  place = nullptr;
  later_.add(operation);
}

void AsioReactor::forget(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size() || descriptors_[index].serial == 0) return;
  const Descriptor& forgotten = descriptors_[index];
  assert(!forgotten.reader && !forgotten.writer && !forgotten.watcher);
  ::epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, nullptr);
  descriptors_[index] = {};
}

// A descriptor that is closed leaves the set by itself.
void AsioReactor::close(OwnedFd fd) {
  const auto index = static_cast<std::size_t>(fd.get());
  if (!fd || index >= descriptors_.size()) return;
  const Descriptor& closed = descriptors_[index];
  assert(!closed.reader && !closed.writer && !closed.watcher);
  descriptors_[index] = {};
}

// --- The turn ---

bool AsioReactor::turn(std::optional<TimePoint> deadline) {
  const std::size_t count = wait(deadline);
  refresh_now();
  later_.run([this](Operation& operation) { serve(operation); });
  for (std::size_t i = 0; i < count; ++i) dispatch(events_[i]);
  return count == events_.size() || !later_.empty();
}

// epoll_wait counts in whole milliseconds, so it waits for less than is left. Asio's timer ends the
// rest of the wait exactly; that takes more calls.
std::size_t AsioReactor::wait(std::optional<TimePoint> deadline) {
  std::size_t ready = 0;
  const auto finds = [&] { return (ready = collect(0ms)) > 0; };
  if (!later_.empty()) return collect(0ms);
  if (look_busily(deadline, finds)) return ready;
  if (!deadline) return collect(kLongestWait);
  const milliseconds left = std::chrono::floor<milliseconds>(*deadline - Clock::now());
  if (left >= kFar) return collect(std::min(left, kLongestWait));
  if (finds() || *deadline <= Clock::now()) return ready;
  wake_at(*deadline);
  await_events();
  context_.restart();  // it stops when nothing is left to wait for
  context_.run_one();
  return collect(0ms);
}

std::size_t AsioReactor::collect(milliseconds longest_wait) {
  const int count = ::epoll_wait(set_.get(), events_.data(), static_cast<int>(events_.size()),
                                 static_cast<int>(longest_wait.count()));
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

void AsioReactor::await_events() {
  if (std::exchange(awaiting_, true)) return;
  set_stream_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      boost::asio::bind_allocator(std::pmr::polymorphic_allocator<>(&handlers_),
                                  [this](const boost::system::error_code&) { awaiting_ = false; }));
}

// An alarm that goes off early only costs a turn without work. So a set alarm is not moved to a
// later time: on a busy loop the first deadline moves all the time.
void AsioReactor::wake_at(TimePoint deadline) {
  if (alarm_at_ && *alarm_at_ <= deadline) return;
  alarm_at_ = deadline;
  alarm_.expires_at(deadline);
  alarm_.async_wait(boost::asio::bind_allocator(std::pmr::polymorphic_allocator<>(&handlers_),
                                                [this](const boost::system::error_code& error) {
                                                  if (!error) alarm_at_.reset();
                                                }));
}

// Completes an operation of later_, or tries it.
void AsioReactor::serve(Operation& operation) {
  if (operation.cancelled_) return finish(operation, {-ECANCELED, false, {}});
  if (const int error = begin(operation); error != 0) {
    return finish(operation, {-error, false, {}});
  }
  Descriptor& descriptor = descriptors_[static_cast<std::size_t>(operation.fd_)];
  if (descriptor.input != Input::none && descriptor.reader == &operation)
    read_ready(descriptor, operation.fd_);
}

AsioReactor::Descriptor* AsioReactor::find(int fd, std::uint32_t serial) {
  Descriptor& descriptor = descriptors_[static_cast<std::size_t>(fd)];
  return descriptor.serial == serial ? &descriptor : nullptr;
}

// Each completion may forget the descriptor, or begin other requests.
void AsioReactor::dispatch(const epoll_event& event) {
  const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
  const auto serial = static_cast<std::uint32_t>(event.data.u64 >> 32);
  const int events = static_cast<int>(event.events);
  Descriptor* descriptor = find(fd, serial);
  if (descriptor != nullptr && (event.events & kInput) != 0) {
    if ((event.events & kMixed) != 0) descriptor->input = Input::mixed;
    if (descriptor->input == Input::none) descriptor->input = Input::bytes;
    if (descriptor->reader != nullptr) read_ready(*descriptor, fd);
    descriptor = find(fd, serial);
  }
  const bool has_room = (event.events & (EPOLLOUT | kBroken)) != 0;
  if (descriptor != nullptr && descriptor->writer != nullptr && has_room) {
    finish(*std::exchange(descriptor->writer, nullptr), {events, false, {}});
    descriptor = find(fd, serial);
  }
  const bool is_broken = (event.events & kBroken) != 0;
  if (descriptor != nullptr && descriptor->watcher != nullptr && is_broken) {
    descriptor->watcher->complete({events, true, {}});
  }
}

void AsioReactor::read_ready(Descriptor& descriptor, int fd) {
  switch (descriptor.reader->kind_) {
    case kReceive:
      return receive_ready(descriptor, fd);
    case kAccept:
    case kAcceptOne:
      return accept_ready(fd, descriptor.serial);
    case kEnd:
      if (ready_events(fd, POLLRDHUP) == 0) return;
      [[fallthrough]];
    default:
      return finish(*std::exchange(descriptor.reader, nullptr), {EPOLLIN, false, {}});
  }
}

// A receive that brings less than it asked for has emptied a socket with bytes only. A unix socket
// also stops behind descriptors that its peer sent, which MSG_CTRUNC tells.
void AsioReactor::receive_ready(Descriptor& descriptor, int fd) {
  iovec room{buffer_.data(), descriptor.reader->max_bytes_};
  msghdr message{};
  message.msg_iov = &room;
  message.msg_iovlen = 1;
  ssize_t received = 0;
  do {
    received = ::recvmsg(fd, &message, MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && errno == EAGAIN) {
    descriptor.input = Input::none;
    return;
  }
  Completion completion{received < 0 ? -errno : static_cast<int>(received), false, {}};
  if (received > 0) {
    completion.data = {buffer_.data(), static_cast<std::size_t>(received)};
    const bool is_all =
        completion.data.size() < room.iov_len && (message.msg_flags & MSG_CTRUNC) == 0;
    if (is_all && descriptor.input == Input::bytes) descriptor.input = Input::none;
  }
  finish(*std::exchange(descriptor.reader, nullptr), completion);
}

void AsioReactor::accept_ready(int fd, std::uint32_t serial) {
  Descriptor* descriptor = find(fd, serial);
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    const int accepted = ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0 && errno == EAGAIN) {
      descriptor->input = Input::none;
      return;
    }
    if (accepted < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (accepted < 0 || descriptor->reader->kind_ == kAcceptOne) {
      const int result = accepted < 0 ? -errno : accepted;
      return finish(*std::exchange(descriptor->reader, nullptr), {result, false, {}});
    }
    descriptor->reader->complete({accepted, true, {}});
    // The call may have cancelled the request or forgotten the listener.
    descriptor = find(fd, serial);
    if (descriptor == nullptr || descriptor->reader == nullptr) return;
  }
  later_.add(*std::exchange(descriptor->reader, nullptr));
}

}  // namespace sluice
