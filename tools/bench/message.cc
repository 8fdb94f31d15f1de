#include "tools/bench/message.h"

#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

constexpr std::uint64_t kMessageStep = 17;

}  // namespace

Echo::Echo(OwnedFd fd, std::size_t size_bytes)
    : Connection(std::move(fd)), size_bytes_(size_bytes) {}

bool Echo::on_ready(std::uint32_t /*events*/) {
  if (!sending_ && !receive()) return false;
  if (sending_) send();
  return true;
}

// Returns false when the peer has closed.
bool Echo::receive() {
  message_.resize(size_bytes_);
  const Received got = receive_some(fd(), std::span(message_).subspan(done_), "upstream");
  if (got.ended) {
    if (done_ != 0) throw Failure("upstream: the stream ended inside a message");
    return false;
  }
  done_ += got.bytes;
  if (done_ == message_.size()) {
    done_ = 0;
    sending_ = true;
  }
  return true;
}

void Echo::send() {
  done_ += send_some(fd(), std::span<const char>(message_).subspan(done_), "upstream");
  if (done_ == message_.size()) {
    done_ = 0;
    sending_ = false;
  }
  loop().set_interest(*this, sending_ ? EPOLLOUT : EPOLLIN);
}

Ping::Ping(OwnedFd fd, PingResults& results, std::uint64_t number, std::size_t size_bytes,
           std::uint64_t interval_ns, std::uint64_t offset_ns)
    : Connection(std::move(fd)),
      results_(results),
      number_(number),
      size_bytes_(size_bytes),
      interval_ns_(interval_ns),
      offset_ns_(offset_ns) {
  set_nonblocking(this->fd());
}

bool Ping::start() {
  const std::uint64_t now = now_ns();
  if (open_loop()) {
    due_ = now + offset_ns_;
    loop().set_alarm(*this, due_);
  } else {
    begin(now);
  }
  return true;
}

bool Ping::on_alarm(std::uint64_t /*now*/) {
  begin(due_);
  return true;
}

bool Ping::on_ready(std::uint32_t /*events*/) {
  if (under_way_ && sending_) {
    send();
    return true;
  }
  return receive();
}

// The exchange in flight still completes, so that a loss does not go unnoticed.
bool Ping::on_stop() {
  ending_ = true;
  const std::uint64_t stop = loop().control().stop_time();
  for (std::uint64_t due = under_way_ ? due_ + interval_ns_ : due_; open_loop() && due < stop;
       due += interval_ns_) {
    results_.latency.add(stop - due);
    ++results_.unsent;
  }
  if (!under_way_) {
    loop().set_alarm(*this, 0);
    ::shutdown(fd(), SHUT_WR);
  }
  return true;
}

void Ping::begin(std::uint64_t due) {
  due_ = due;
  position_ = Content::start_of(number_) + trips_ * kMessageStep;
  done_ = 0;
  under_way_ = sending_ = true;
  send();
}

void Ping::send() {
  while (done_ < size_bytes_) {
    const std::size_t part = Content::together(position_ + done_, size_bytes_ - done_);
    const std::size_t sent = send_some(fd(), {content_.at(position_ + done_), part}, "client");
    done_ += sent;
    if (sent < part) break;
  }
  if (done_ == size_bytes_) {
    sending_ = false;
    done_ = 0;
  }
  loop().set_interest(*this, sending_ ? EPOLLOUT : EPOLLIN);
}

// Returns false when the connection has ended in order, after its last answer.
bool Ping::receive() {
  const std::size_t most =
      under_way_ ? std::min(Loop::kBufferBytes, size_bytes_ - done_) : std::size_t{1};
  const Received got = receive_some(fd(), {loop().buffer(), most}, "client");
  if (got.ended) {
    if (!ending_ || under_way_) throw Failure("client: closed by the other end");
    return false;
  }
  if (got.bytes == 0) return true;
  if (!under_way_) throw Failure("client: bytes arrived that were never sent");
  const std::size_t wrong = content_.mismatch(position_ + done_, loop().buffer(), got.bytes);
  if (wrong < got.bytes) {
    throw Failure("client: connection " + std::to_string(number_) + ": message " +
                  std::to_string(trips_) + " came back with a wrong byte at offset " +
                  std::to_string(done_ + wrong));
  }
  done_ += got.bytes;
  if (done_ == size_bytes_) next(now_ns());
  return true;
}

void Ping::next(std::uint64_t now) {
  const Phase phase = loop().control().phase();
  if (phase == Phase::measure) ++results_.completed;
  const bool late = phase == Phase::stop && due_ < loop().control().stop_time();
  if (phase == Phase::measure || late) results_.latency.add(now - due_);
  ++trips_;
  under_way_ = false;
  if (ending_) {
    ::shutdown(fd(), SHUT_WR);
    return;
  }
  if (!open_loop()) return begin(now);
  due_ += interval_ns_;
  if (due_ <= now) return begin(due_);
  loop().set_alarm(*this, due_);
}

}  // namespace sluice::bench
