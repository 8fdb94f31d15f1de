#include "proxy/entry/peek.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <utility>

#include "iolib/base/readiness.h"

namespace sluice {
namespace {

// The least that is asked for, so that a hello takes one look: most have 517 bytes, and those with
// a post-quantum key about 1,800.
constexpr std::size_t kLeastBuffer = 2048;
// Unix sockets ignore the mark, and so does TCP under memory pressure. Then the next look is after
// a pause, so that a slow client does not keep the thread busy.
constexpr Duration kFirstPause = std::chrono::milliseconds(1);
constexpr Duration kLongestPause = std::chrono::milliseconds(20);

}  // namespace

Peek::~Peek() {
  wake_at(1);
  if (waited_) reactor_.forget(fd_);
}

Task<Peek::Outcome> Peek::wait_for(std::size_t total) {
  Duration pause = kFirstPause;
  while (!look(total)) {
    if (cancelled_) co_return Outcome::cancelled;
    if (ended_) co_return Outcome::ended;
    if (reactor_.now() >= deadline_) co_return Outcome::late;
    wake_at(total);
    waited_ = true;
    Reactor::Wait wait = reactor_.readable(fd_, deadline_);
    wait_ = &wait;
    const int events = co_await wait;
    wait_ = nullptr;
    ended_ = events < 0 && events != -ETIMEDOUT && events != -ECANCELED;  // it cannot be waited for
    if (events <= 0 || look(total) || ended_) continue;
    // It was woken for fewer bytes: by the end, or without the mark.
    ended_ = ready_events(fd_, POLLRDHUP) != 0 && !look(total);
    if (ended_) continue;
    co_await reactor_.sleep_until(std::min(deadline_, reactor_.now() + pause));
    pause = std::min(2 * pause, kLongestPause);
  }
  co_return Outcome::seen;
}

// Returns whether `total` bytes are there.
bool Peek::look(std::size_t total) {
  if (seen_bytes_ >= total) return true;
  make_room(total);
  ssize_t count = 0;
  do {
    count = ::recv(fd_, buffer_.get(), buffer_bytes_, MSG_PEEK | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count == 0 || (count < 0 && errno != EAGAIN)) ended_ = true;
  if (count > 0) seen_bytes_ = static_cast<std::size_t>(count);
  return seen_bytes_ >= total;
}

// Keeps what has been seen: the next look can fail.
void Peek::make_room(std::size_t bytes) {
  if (bytes <= buffer_bytes_) return;
  buffer_bytes_ = std::max(bytes, kLeastBuffer);
  auto room = std::make_unique_for_overwrite<std::byte[]>(buffer_bytes_);
  std::ranges::copy(seen(), room.get());
  buffer_ = std::move(room);
}

void Peek::take(std::size_t bytes) {
  assert(bytes <= seen_bytes_);
  std::size_t taken = 0;
  while (taken < bytes) {
    const ssize_t count = ::recv(fd_, buffer_.get(), bytes - taken, MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;  // reset since: the relay finds that
    taken += static_cast<std::size_t>(count);
  }
  seen_bytes_ = 0;
}

void Peek::cancel() {
  cancelled_ = true;
  if (wait_ != nullptr) wait_->cancel();
}

void Peek::wake_at(std::size_t bytes) {
  if (bytes == mark_) return;
  mark_ = bytes;
  const int mark = static_cast<int>(bytes);
  static_cast<void>(::setsockopt(fd_, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
}

}  // namespace sluice
