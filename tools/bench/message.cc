#include "tools/bench/message.h"

#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

constexpr std::uint64_t kMessageStep = 17;

}  // namespace

std::uint64_t message_position(std::uint64_t connection, std::uint64_t trip) {
  return Content::start_of(connection) + trip * kMessageStep;
}

void check_message(std::uint64_t connection, std::uint64_t trip, std::size_t done,
                   std::span<const char> bytes) {
  const std::uint64_t position = message_position(connection, trip) + done;
  const std::size_t wrong = Content::instance().mismatch(position, bytes.data(), bytes.size());
  if (wrong == bytes.size()) return;
  throw Failure("client: connection " + std::to_string(connection) + ": message " +
                std::to_string(trip) + " came back with a wrong byte at offset " +
                std::to_string(done + wrong));
}

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

Ping::Ping(OwnedFd fd, ExchangeResults& results, const Pace& pace, std::uint64_t number,
           std::size_t size_bytes)
    : Connection(std::move(fd)),
      results_(results),
      pace_(pace),
      number_(number),
      size_bytes_(size_bytes) {
  set_nonblocking(this->fd());
}

bool Ping::start() {
  const std::uint64_t now = now_ns();
  if (pace_.open_loop()) {
    due_ = now + pace_.offset_ns;
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
  if (pace_.open_loop()) {
    results_.add_unsent(under_way_ ? due_ + pace_.interval_ns : due_, loop().control().stop_time(),
                        pace_.interval_ns);
  }
  if (!under_way_) {
    loop().set_alarm(*this, 0);
    ::shutdown(fd(), SHUT_WR);
  }
  return true;
}

void Ping::begin(std::uint64_t due) {
  due_ = due;
  done_ = 0;
  under_way_ = sending_ = true;
  send();
}

void Ping::send() {
  const std::uint64_t position = message_position(number_, trips_);
  while (done_ < size_bytes_) {
    const std::size_t part = Content::together(position + done_, size_bytes_ - done_);
    const std::size_t sent = send_some(fd(), {content_.at(position + done_), part}, "client");
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
  check_message(number_, trips_, done_, {loop().buffer(), got.bytes});
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
  if (!pace_.open_loop()) return begin(now);
  due_ += pace_.interval_ns;
  if (due_ <= now) return begin(due_);
  loop().set_alarm(*this, due_);
}

}  // namespace sluice::bench
