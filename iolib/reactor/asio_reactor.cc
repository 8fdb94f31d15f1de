#include "iolib/reactor/asio_reactor.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice {
namespace {

// The most connections accepted from one listener in a turn.
constexpr int kAcceptsPerTurn = 64;
// The most handlers in a turn, before timers run.
constexpr int kHandlersPerTurn = 256;
constexpr int kWatchBatch = 64;

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
  watches_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!watches_) return errno_error("epoll_create1");
  watches_stream_ = std::make_unique<Stream>(context_);
  boost::system::error_code error;
  watches_stream_->assign(watches_.get(), error);
  if (error) return Error{error.value(), "epoll_ctl"};
  await_errors();
  return {};
}

AsioReactor::~AsioReactor() {
  // Asio only borrows the descriptors and must not close them.
  for (const auto& descriptor : descriptors_) {
    if (descriptor) descriptor->stream.release();
  }
  if (watches_stream_) watches_stream_->release();
}

AsioReactor::Descriptor* AsioReactor::find(int fd, std::uint64_t serial) {
  Descriptor* descriptor = descriptors_[static_cast<std::size_t>(fd)].get();
  return descriptor != nullptr && descriptor->serial == serial ? descriptor : nullptr;
}

// Returns the entry of `fd`, and creates it at the first use. On failure, `operation` completes
// with the error and the result is null.
AsioReactor::Descriptor* AsioReactor::descriptor_of(int fd, Operation& operation) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size()) descriptors_.resize(index + 1);
  std::unique_ptr<Descriptor>& entry = descriptors_[index];
  if (!entry) {
    Stream stream(context_);
    boost::system::error_code error;
    stream.assign(fd, error);
    if (error) {
      finish_later(operation, -error.value());
      return nullptr;
    }
    entry = std::make_unique<Descriptor>(std::move(stream));
    entry->serial = ++serials_;
  }
  return entry.get();
}

void AsioReactor::begin_reading(int fd, Operation& operation, std::uint8_t kind) {
  prepare(operation, fd, kind);
  if (Descriptor* descriptor = descriptor_of(fd, operation)) {
    assert(descriptor->reader == nullptr);
    descriptor->reader = &operation;
    await_reading(*descriptor, fd);
  }
}

void AsioReactor::receive(int fd, Operation& operation, std::size_t max_bytes) {
  operation.max_bytes_ = static_cast<std::uint32_t>(max_bytes);
  begin_reading(fd, operation, kReceive);
}

void AsioReactor::wait_readable(int fd, Operation& operation) {
  begin_reading(fd, operation, kReadable);
}

void AsioReactor::accept(int listener, Operation& operation) {
  begin_reading(listener, operation, kAccept);
}

void AsioReactor::accept_one(int listener, Operation& operation) {
  begin_reading(listener, operation, kAcceptOne);
}

void AsioReactor::wait_writable(int fd, Operation& operation) {
  prepare(operation, fd, kWritable);
  if (Descriptor* descriptor = descriptor_of(fd, operation)) {
    assert(descriptor->writer == nullptr);
    descriptor->writer = &operation;
    await_writing(*descriptor, fd);
  }
}

void AsioReactor::watch_errors(int fd, Operation& operation) {
  prepare(operation, fd, kWatch);
  Descriptor* descriptor = descriptor_of(fd, operation);
  if (descriptor == nullptr) return;
  assert(descriptor->watcher == nullptr);
  descriptor->watcher = &operation;
  epoll_event event{};
  event.events = EPOLLET;  // EPOLLERR and EPOLLHUP are always included
  event.data.fd = fd;
  if (::epoll_ctl(watches_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    descriptor->watcher = nullptr;
    finish_later(operation, -errno);
  }
}

void AsioReactor::cancel(Operation& operation) {
  if (!operation.in_flight_ || operation.cancelled_) return;
  operation.cancelled_ = true;
  const auto index = static_cast<std::size_t>(operation.fd_);
  Descriptor* descriptor = index < descriptors_.size() ? descriptors_[index].get() : nullptr;
  if (descriptor == nullptr) return;  // it has already failed; finish_later() reports it
  if (descriptor->reader == &operation) {
    descriptor->reader = nullptr;
  } else if (descriptor->writer == &operation) {
    descriptor->writer = nullptr;
  } else if (descriptor->watcher == &operation) {
    descriptor->watcher = nullptr;
    ::epoll_ctl(watches_.get(), EPOLL_CTL_DEL, operation.fd_, nullptr);
  } else {
    return;
  }
  finish_later(operation, -ECANCELED);
}

void AsioReactor::forget(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size() || !descriptors_[index]) return;
  const Descriptor& forgotten = *descriptors_[index];
  assert(!forgotten.reader && !forgotten.writer && !forgotten.watcher);
  descriptors_[index]->stream.release();
  descriptors_[index].reset();
}

void AsioReactor::await_reading(Descriptor& descriptor, int fd) {
  if (std::exchange(descriptor.reading, true)) return;
  descriptor.stream.async_wait(
      Stream::wait_read, [this, fd, serial = descriptor.serial](auto) { read_ready(fd, serial); });
}

void AsioReactor::await_writing(Descriptor& descriptor, int fd) {
  if (std::exchange(descriptor.writing, true)) return;
  descriptor.stream.async_wait(Stream::wait_write, [this, fd, serial = descriptor.serial](auto) {
    write_ready(fd, serial);
  });
}

void AsioReactor::await_errors() {
  watches_stream_->async_wait(Stream::wait_read, [this](const boost::system::error_code& error) {
    if (!error) errors_ready();
  });
}

void AsioReactor::read_ready(int fd, std::uint64_t serial) {
  refresh_now();
  Descriptor* descriptor = find(fd, serial);
  if (descriptor == nullptr) return;
  descriptor->reading = false;
  if (descriptor->reader == nullptr) return;
  switch (descriptor->reader->kind_) {
    case kReceive:
      return receive_ready(*descriptor, fd);
    case kAccept:
    case kAcceptOne:
      return accept_ready(fd, serial);
    default:
      return finish(*std::exchange(descriptor->reader, nullptr), {EPOLLIN, false, {}});
  }
}

void AsioReactor::receive_ready(Descriptor& descriptor, int fd) {
  const ssize_t received = ::recv(fd, buffer_.data(), descriptor.reader->max_bytes_, MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return await_reading(descriptor, fd);
  Completion completion{received < 0 ? -errno : static_cast<int>(received), false, {}};
  if (received > 0) completion.data = {buffer_.data(), static_cast<std::size_t>(received)};
  finish(*std::exchange(descriptor.reader, nullptr), completion);
}

void AsioReactor::accept_ready(int fd, std::uint64_t serial) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    // The call for the previous connection may have cancelled the request or forgotten the
    // listener.
    Descriptor* descriptor = find(fd, serial);
    if (descriptor == nullptr || descriptor->reader == nullptr) return;
    const int accepted = ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0 && descriptor->reader->kind_ == kAcceptOne) {
      return finish(*std::exchange(descriptor->reader, nullptr), {accepted, false, {}});
    }
    if (accepted >= 0) {
      descriptor->reader->complete({accepted, true, {}});
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return finish(*std::exchange(descriptor->reader, nullptr), {-errno, false, {}});
    }
  }
  Descriptor* descriptor = find(fd, serial);
  if (descriptor != nullptr && descriptor->reader != nullptr) await_reading(*descriptor, fd);
}

void AsioReactor::write_ready(int fd, std::uint64_t serial) {
  refresh_now();
  Descriptor* descriptor = find(fd, serial);
  if (descriptor == nullptr) return;
  descriptor->writing = false;
  if (descriptor->writer == nullptr) return;
  finish(*std::exchange(descriptor->writer, nullptr), {EPOLLOUT, false, {}});
}

void AsioReactor::errors_ready() {
  refresh_now();
  std::array<epoll_event, kWatchBatch> events{};
  const int count = ::epoll_wait(watches_.get(), events.data(), kWatchBatch, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    Descriptor* descriptor = descriptors_[static_cast<std::size_t>(event.data.fd)].get();
    if (descriptor == nullptr || descriptor->watcher == nullptr) continue;
    descriptor->watcher->complete({static_cast<int>(event.events), true, {}});
  }
  await_errors();
}

void AsioReactor::finish_later(Operation& operation, int result) {
  boost::asio::post(context_, [this, &operation, result] {
    refresh_now();
    finish(operation, {result, false, {}});
  });
}

// An alarm that goes off early only costs a turn without work. So a set alarm is not moved to a
// later time: on a busy loop the first deadline moves all the time.
void AsioReactor::wake_at(TimePoint deadline) {
  if (alarm_at_ && *alarm_at_ <= deadline) return;
  alarm_at_ = deadline;
  alarm_.expires_at(deadline);
  alarm_.async_wait([this](const boost::system::error_code& error) {
    refresh_now();
    if (!error) alarm_at_.reset();
  });
}

bool AsioReactor::turn(std::optional<TimePoint> deadline) {
  if (deadline && *deadline <= Clock::now()) {
    refresh_now();
  } else {
    if (deadline) wake_at(*deadline);
    if (!look_busily(deadline, [this] { return context_.poll_one() > 0; })) context_.run_one();
  }
  // This also runs when a timer is due, so that timers in quick succession do not delay sockets.
  int handlers = 1;
  while (handlers < kHandlersPerTurn && context_.poll_one() > 0) ++handlers;
  return handlers == kHandlersPerTurn;
}

}  // namespace sluice
