#include "tools/bench/blocking.h"

#include <sys/socket.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "iolib/base/shortage.h"
#include "tools/bench/message.h"
#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

constexpr const char* kPingEnd = "client";
constexpr const char* kAttendant = "upstream";
constexpr std::size_t kMostAtOnceBytes = 256 << 10;

// Receives at least a byte, or the end of the stream. Throws Failure if the run has failed.
Received receive_waiting(int fd, std::span<char> into, const Control& control, const char* who) {
  for (;;) {
    const Received got = receive_step(fd, into, who);
    if (got.bytes > 0 || got.ended) return got;
    control.check();
  }
}

}  // namespace

BlockingPing::BlockingPing(OwnedFd fd, Control& control, const Pace& pace, std::uint64_t number,
                           std::size_t size_bytes)
    : Exchanger(control, pace),
      fd_(std::move(fd)),
      number_(number),
      size_bytes_(size_bytes),
      answer_(std::min(size_bytes, kMostAtOnceBytes)) {}

void BlockingPing::exchange() {
  const std::uint64_t position = message_position(number_, trips_);
  for (std::size_t sent = 0; sent < size_bytes_;) {
    const std::size_t part = Content::together(position + sent, size_bytes_ - sent);
    send_all(fd_.get(), {content_.at(position + sent), part}, kPingEnd);
    sent += part;
  }
  for (std::size_t done = 0; done < size_bytes_;) {
    const std::span<char> into =
        std::span(answer_).first(std::min(answer_.size(), size_bytes_ - done));
    const Received got = receive_waiting(fd_.get(), into, control(), kPingEnd);
    if (got.ended) throw Failure("client: closed by the other end");
    check_message(number_, trips_, done, into.first(got.bytes));
    done += got.bytes;
  }
  ++trips_;
}

void BlockingPing::finish() {
  ::shutdown(fd_.get(), SHUT_WR);
  receive_end(fd_.get(), kPingEnd);
}

Attendants::~Attendants() {
  if (busy()) control_.fail("ended early");
  {
    const std::lock_guard guard(lock_);
    ending_ = true;
  }
  arrival_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Attendants::serve(OwnedFd fd, const Hello& hello) {
  set_blocking_steps(fd.get());
  const std::lock_guard guard(lock_);
  arrived_.push_back({std::move(fd), hello});
  if (arrived_.size() <= free_) return arrival_.notify_one();
  if (threads_.size() == kMaxThreads) {
    return control_.fail("upstream: too many connections with a thread for each");
  }
  try {
    threads_.push_back(start_thread([this] { run(); }));
  } catch (const std::system_error& error) {
    control_.fail(std::string("upstream: ") + error.what());
  }
}

bool Attendants::busy() {
  const std::lock_guard guard(lock_);
  return !arrived_.empty() || free_ < threads_.size();
}

void Attendants::run() {
  std::unique_lock guard(lock_);
  for (;;) {
    ++free_;
    arrival_.wait(guard, [this] { return ending_ || !arrived_.empty(); });
    if (ending_) return;
    --free_;
    Arrival arrival = std::move(arrived_.front());
    arrived_.pop_front();
    guard.unlock();
    try {
      attend(arrival.fd.get(), arrival.hello);
    } catch (const std::exception& error) {
      control_.fail(error.what());
    }
    arrival.fd.reset();
    guard.lock();
  }
}

void Attendants::attend(int fd, const Hello& hello) const {
  if (hello.role == Role::echo) return echo(fd, hello.size_bytes);
  char byte = static_cast<char>(hello.number);
  send_all(fd, {&byte, 1}, kAttendant);
  if (hello.closes) ::shutdown(fd, SHUT_WR);
  if (!receive_waiting(fd, {&byte, 1}, control_, kAttendant).ended) {
    throw Failure("upstream: bytes arrived that were never sent");
  }
}

// Returns every message when it is complete, until its peer closes.
void Attendants::echo(int fd, std::size_t size_bytes) const {
  std::vector<char> message(size_bytes);
  for (std::size_t done = 0;;) {
    const Received got =
        receive_waiting(fd, std::span(message).subspan(done), control_, kAttendant);
    if (got.ended && done != 0) throw Failure("upstream: the stream ended inside a message");
    if (got.ended) return;
    done += got.bytes;
    if (done < size_bytes) continue;
    send_all(fd, message, kAttendant);
    done = 0;
  }
}

}  // namespace sluice::bench
