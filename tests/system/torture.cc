#include "tests/system/torture.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <ostream>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>

namespace sluice::test {
namespace {

using TimePoint = StreamEnd::TimePoint;
using std::chrono::milliseconds;

constexpr std::size_t kMostAtOnceBytes = 256 << 10;
constexpr std::uint64_t kMostSentBytes = 4 << 20;
/// Bounds the calls of one connection and, with its pauses, its duration.
constexpr std::uint64_t kMostCalls = 2'000;
constexpr std::uint64_t kMostPauses = 40;

/// Each power of two up to `most` is equally likely, so single bytes are frequent.
std::uint64_t draw_size(std::mt19937_64& random, std::uint64_t most) {
  const std::uint64_t top = std::uint64_t{1} << random() % (std::bit_width(most));
  return std::min(most, top + random() % top);
}

void draw_calls(std::mt19937_64& random, EndPlan& plan, std::uint64_t receive_bytes) {
  plan.most_written_bytes =
      std::max(draw_size(random, kMostAtOnceBytes), 2 * plan.send_bytes / kMostCalls + 1);
  plan.most_read_bytes =
      std::max(draw_size(random, kMostAtOnceBytes), 2 * receive_bytes / kMostCalls + 1);
  if (random() % 3 != 0) return;
  const std::uint64_t calls =
      2 * plan.send_bytes / plan.most_written_bytes + 2 * receive_bytes / plan.most_read_bytes + 1;
  plan.pause_every = std::max<std::uint64_t>(2, calls / kMostPauses);
  plan.longest_pause = std::chrono::microseconds(draw_size(random, 30'000));
}

void draw_ends(std::mt19937_64& random, ConnectionPlan& plan) {
  EndPlan& one = random() % 2 == 0 ? plan.client : plan.upstream;
  EndPlan& other = &one == &plan.client ? plan.upstream : plan.client;
  switch (random() % 8) {
    case 0:
      one.sends_after_eof = true;
      break;
    case 1:
      other.send_bytes = 0;
      one.closes_after_sending = true;
      break;
    case 2:
      one.urgent_every = 1 + random() % 20;
      break;
    case 3:
      one.reads_after = milliseconds(random() % 300);
      break;
    default:
      break;
  }
  if (random() % 5 == 0) {
    const std::uint64_t all = one.send_bytes + other.send_bytes;
    one.resets_after = all == 0 ? 0 : random() % all;
  }
}

SocketOptions draw_socket(std::mt19937_64& random) {
  SocketOptions options;
  if (random() % 3 == 0) options.segment_bytes = kEthernetSegmentBytes;
  if (options.segment_bytes > 0 && random() % 2 == 0) {
    options.receive_buffer_bytes = static_cast<int>(4096 + random() % 60'000);
  }
  if (random() % 4 == 0) options.send_buffer_bytes = static_cast<int>(8192 + random() % 60'000);
  options.no_delay = random() % 2 == 0;
  return options;
}

/// Empty, or the problem with the stream from one end to the other.
std::string stream_verdict(const StreamEnd& from, const StreamEnd& to) {
  const std::uint64_t got = to.received().received_bytes();
  if (to.received().mismatch()) {
    return "wrong byte at offset " + std::to_string(*to.received().mismatch());
  }
  if (got > from.sent_bytes()) return "more bytes than were sent";
  if (to.has_reset() || to.plan().closes_after_sending) return {};
  const bool whole = from.finished_sending() && got == from.sent_bytes();
  if (to.ending() == Ending::eof && !whole) {
    return "a clean end after " + std::to_string(got) + " of " + std::to_string(from.sent_bytes());
  }
  if (to.ending() == Ending::reset && !from.has_reset()) return "a reset that nobody sent";
  if (to.ending() == Ending::open) return "no end";
  return {};
}

}  // namespace

void PrintTo(const EndPlan& plan, std::ostream* out) {
  *out << "sends " << plan.send_bytes << " by " << plan.most_written_bytes << ", reads by "
       << plan.most_read_bytes << ", pauses every " << plan.pause_every << " up to "
       << plan.longest_pause.count() << " us, urgent every " << plan.urgent_every
       << ", reads after " << plan.reads_after.count() << " ms"
       << (plan.sends_after_eof ? ", sends after eof" : "")
       << (plan.closes_after_sending ? ", closes after sending" : "");
  if (plan.resets_after) *out << ", resets after " << *plan.resets_after;
}

ConnectionPlan draw_plan(std::mt19937_64& random) {
  ConnectionPlan plan;
  plan.seed = random();
  plan.client.send_bytes = random() % 10 == 0 ? 0 : draw_size(random, kMostSentBytes);
  plan.upstream.send_bytes = random() % 10 == 0 ? 0 : draw_size(random, kMostSentBytes);
  draw_ends(random, plan);
  draw_calls(random, plan.client, plan.upstream.send_bytes);
  draw_calls(random, plan.upstream, plan.client.send_bytes);
  plan.client_socket = draw_socket(random);
  plan.upstream_socket = draw_socket(random);
  return plan;
}

StreamEnd::StreamEnd(OwnedFd fd, const EndPlan& plan, Pattern sends, Pattern expects,
                     std::uint64_t seed)
    : fd_(std::move(fd)),
      plan_(plan),
      sends_(sends),
      received_(expects),
      random_(seed),
      may_read_at_(std::chrono::steady_clock::now() + plan.reads_after) {}

bool StreamEnd::may_send() const {
  return !finished_sending_ && !send_failed_ && (!plan_.sends_after_eof || ending_ != Ending::open);
}

short StreamEnd::wanted_events(TimePoint now) const {
  int events = 0;
  if (ending_ == Ending::open && may_read_at_ <= now) events |= POLLIN;
  if (may_send() && may_send_at_ <= now) events |= POLLOUT;
  return static_cast<short>(events);
}

TimePoint StreamEnd::wakes_at(TimePoint now) const {
  TimePoint wake = TimePoint::max();
  if (ending_ == Ending::open && may_read_at_ > now) wake = std::min(wake, may_read_at_);
  if (may_send() && may_send_at_ > now) wake = std::min(wake, may_send_at_);
  return wake;
}

TimePoint StreamEnd::pause_from(TimePoint now) {
  if (plan_.pause_every == 0 || random_() % plan_.pause_every != 0) return now;
  return now + std::chrono::microseconds(
                   random_() % static_cast<std::uint64_t>(plan_.longest_pause.count() + 1));
}

void StreamEnd::step(TimePoint now) {
  if (ending_ == Ending::open && may_read_at_ <= now) receive(now);
  end_if_due();
  if (!done() && may_send() && may_send_at_ <= now) send(now);
  if (!done()) end_if_due();
}

void StreamEnd::receive(TimePoint now) {
  static thread_local std::vector<std::byte> buffer;
  buffer.resize(std::max(buffer.size(), plan_.most_read_bytes));
  const ssize_t got = ::recv(fd_.get(), buffer.data(), up_to(plan_.most_read_bytes), MSG_DONTWAIT);
  if (got > 0) {
    received_.take(std::span(buffer).first(static_cast<std::size_t>(got)));
    may_read_at_ = pause_from(now);
  } else if (got == 0) {
    ending_ = reset_seen_ ? Ending::reset : Ending::eof;
  } else if (errno == ECONNRESET || errno == EPIPE) {
    ending_ = Ending::reset;
  } else if (errno != EAGAIN && errno != EINTR) {
    throw std::system_error(errno, std::generic_category(), "recv");
  }
}

void StreamEnd::send(TimePoint now) {
  static thread_local std::vector<std::byte> buffer;
  const auto size = static_cast<std::size_t>(
      std::min<std::uint64_t>(up_to(plan_.most_written_bytes), plan_.send_bytes - sent_bytes_));
  if (size > 0) {
    buffer.resize(std::max(buffer.size(), size));
    sends_.fill(sent_bytes_, std::span(buffer).first(size));
    const bool urgent = plan_.urgent_every > 0 && random_() % plan_.urgent_every == 0;
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (urgent ? MSG_OOB : 0);
    const ssize_t sent = ::send(fd_.get(), buffer.data(), size, flags);
    if (sent > 0) {
      sent_bytes_ += static_cast<std::uint64_t>(sent);
      may_send_at_ = pause_from(now);
    } else if (errno != EAGAIN && errno != EINTR) {
      reset_seen_ |= errno == ECONNRESET;
      send_failed_ = true;
    }
  }
  if (send_failed_ || sent_bytes_ < plan_.send_bytes) return;
  finished_sending_ = true;
  // Fails if a reset has arrived meanwhile; receiving will report that.
  if (!plan_.closes_after_sending) ::shutdown(fd_.get(), SHUT_WR);
}

void StreamEnd::end_if_due() {
  if (plan_.resets_after && sent_bytes_ + received_.received_bytes() >= *plan_.resets_after) {
    has_reset_ = true;
    reset(std::move(fd_));
  } else if (finished_sending_ && (plan_.closes_after_sending || ending_ != Ending::open)) {
    fd_.reset();
  } else if (send_failed_ && ending_ != Ending::open) {
    fd_.reset();
  } else if (ending_ == Ending::reset) {
    fd_.reset();
  }
}

Exchange::Exchange(ConnectionPlan drawn, Forwarded pair)
    : plan(std::move(drawn)),
      client(std::move(pair.client), plan.client, Pattern(plan.seed), Pattern(plan.seed + 1),
             plan.seed + 2),
      upstream(std::move(pair.upstream), plan.upstream, Pattern(plan.seed + 1), Pattern(plan.seed),
               plan.seed + 3) {}

std::string Exchange::verdict() const {
  const std::string there = stream_verdict(client, upstream);
  const std::string back = stream_verdict(upstream, client);
  if (there.empty() && back.empty()) return {};
  std::ostringstream text;
  if (!there.empty()) text << "to the upstream: " << there << "; ";
  if (!back.empty()) text << "to the client: " << back << "; ";
  text << "\n  client: ";
  PrintTo(plan.client, &text);
  text << "\n  upstream: ";
  PrintTo(plan.upstream, &text);
  return text.str();
}

bool run(std::vector<std::unique_ptr<Exchange>>& exchanges, std::chrono::seconds patience) {
  std::vector<StreamEnd*> ends;
  for (const auto& exchange : exchanges) {
    ends.push_back(&exchange->client);
    ends.push_back(&exchange->upstream);
  }
  std::vector<pollfd> polled;
  TimePoint moved = std::chrono::steady_clock::now();
  while (!ends.empty()) {
    polled.clear();
    TimePoint now = std::chrono::steady_clock::now();
    TimePoint wake = now + milliseconds(100);
    for (const StreamEnd* end : ends) {
      const short events = end->wanted_events(now);
      // A broken connection is always readable, so it is not polled while its end pauses.
      polled.push_back({.fd = events != 0 ? end->fd() : -1, .events = events, .revents = 0});
      wake = std::min(wake, end->wakes_at(now));
    }
    const auto wait = std::chrono::ceil<milliseconds>(wake - now);
    const int ready = ::poll(polled.data(), polled.size(), static_cast<int>(wait.count()));
    now = std::chrono::steady_clock::now();
    if (ready > 0) moved = now;
    if (now - moved > patience) return false;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (polled[i].revents != 0) ends[i]->step(now);
    }
    std::erase_if(ends, [](const StreamEnd* end) { return end->done(); });
  }
  return true;
}

}  // namespace sluice::test
