#include "tools/bench/stream.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

// The most bytes of one turn. 1 MiB is a quarter of the largest send buffer: large enough to make
// the cost of calls negligible, small enough that 64 connections take fair turns.
constexpr std::size_t kTurnBytes = Loop::kBufferBytes;
// The most bytes that a slow reader reads at a time.
constexpr std::size_t kSlowReadBytes = 16 << 10;

}  // namespace

Stream::Stream(OwnedFd fd, StreamCounts& counts, const StreamOptions& options)
    : Connection(std::move(fd)),
      counts_(counts),
      options_(options),
      start_(Content::start_of(options.number)),
      sending_(options.send) {
  set_nonblocking(this->fd());
}

bool Stream::start() {
  rate_began_ = now_ns();
  update_interest();
  return true;
}

void Stream::update_interest() {
  const std::uint32_t in = resting_ ? 0U : static_cast<std::uint32_t>(EPOLLIN);
  loop().set_interest(*this, in | (sending_ ? static_cast<std::uint32_t>(EPOLLOUT) : 0U));
}

bool Stream::on_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && sending_) send_turn();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !ended_) receive_turn();
  return !finished();
}

bool Stream::on_alarm(std::uint64_t /*now*/) {
  resting_ = false;
  update_interest();
  return true;
}

bool Stream::on_stop() {
  options_.read_rate_bytes = 0;  // receive bytes in flight at full speed
  resting_ = false;
  end_sending();
  return !finished();
}

void Stream::end_sending() {
  if (sending_ && ::shutdown(fd(), SHUT_WR) != 0) {
    fail_errno(std::string(options_.who) + ": shutdown");
  }
  sending_ = false;
  update_interest();
}

void Stream::send_turn() {
  const std::uint64_t sent = counts_.sent.load(std::memory_order_relaxed);
  const auto most =
      static_cast<std::size_t>(std::min<std::uint64_t>(kTurnBytes, options_.limit - sent));
  const std::uint64_t position = start_ + sent;
  const std::size_t part = Content::together(position, most);
  std::size_t moved = 0;
  if (options_.ends == Ends::plain) {
    moved = send_some(fd(), {content_.at(position), part}, options_.who);
  } else {
    auto offset = static_cast<off_t>(position % Content::kBytes);
    const ssize_t n = ::sendfile(fd(), content_.file(), &offset, part);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      fail_errno(std::string(options_.who) + ": sendfile");
    }
    if (n > 0) moved = static_cast<std::size_t>(n);
  }
  counts_.sent.store(sent + moved, std::memory_order_relaxed);
  if (sent + moved == options_.limit) end_sending();
}

void Stream::receive_turn() {
  if (options_.read_rate_bytes > 0) {
    rate_bytes_ += receive_at_most(kSlowReadBytes, true);
    const double due = static_cast<double>(rate_bytes_) /
                       static_cast<double>(options_.read_rate_bytes) * kNsPerSecond;
    resting_ = true;
    update_interest();
    loop().set_alarm(*this, std::max(now_ns(), rate_began_ + static_cast<std::uint64_t>(due)));
    return;
  }
  const std::uint64_t received = counts_.received.load(std::memory_order_relaxed);
  if (options_.ends == Ends::plain || options_.verify_all) {
    receive_at_most(kTurnBytes, true);
  } else if (received >= next_sample_) {
    next_sample_ = received + kSampleEveryBytes;
    receive_at_most(kSampleBytes, true);
  } else {
    receive_at_most(kTurnBytes, false);
  }
}

std::size_t Stream::receive_at_most(std::size_t most, bool compare) {
  const Received got =
      receive_some(fd(), {loop().buffer(), most}, options_.who, compare ? 0 : MSG_TRUNC);
  if (got.ended) {
    ended_ = true;
    // A level-triggered end of stream would be reported again and again.
    resting_ = true;
    update_interest();
    return 0;
  }
  if (got.bytes == 0) return 0;
  if (!options_.receive)
    throw Failure(std::string(options_.who) + ": bytes arrived that were never sent");
  const std::uint64_t before = counts_.received.load(std::memory_order_relaxed);
  if (compare) {
    const std::size_t wrong = content_.mismatch(start_ + before, loop().buffer(), got.bytes);
    if (wrong < got.bytes) {
      throw Failure(std::string(options_.who) + ": connection " + std::to_string(options_.number) +
                    ": wrong byte at offset " + std::to_string(before + wrong));
    }
  }
  counts_.received.store(before + got.bytes, std::memory_order_relaxed);
  return got.bytes;
}

}  // namespace sluice::bench
