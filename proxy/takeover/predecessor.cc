#include "proxy/takeover/predecessor.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <span>
#include <utility>

#include "iolib/base/shortage.h"
#include "proxy/log/log.h"

namespace sluice::takeover {
namespace {

// How long a peer may take for its first message, and for an answer that must be at hand.
constexpr Duration kHelloTime = std::chrono::seconds(5);
constexpr Duration kAnswerTime = std::chrono::seconds(5);
// Between the news that the successor is in charge and the end of this process, which can be at
// once: whoever has asked for the takeover gets the answer.
constexpr Duration kReplyTime = std::chrono::milliseconds(200);
constexpr Duration kReportInterval = std::chrono::seconds(1);
// Nobody reads a report that is not taken within this time. Meanwhile another takeover can go on.
constexpr Duration kReportTime = kTakeoverTime + std::chrono::seconds(10);
// The same once the daemon ends.
constexpr Duration kLastReportTime = std::chrono::seconds(2);

// Why a successor's message does not continue the takeover.
Error unexpected(const Message& message) {
  if (message.type == MessageType::failed) return Error{0, text_of(message.body, "reason")};
  return Error{0, "the successor sent " + std::string(name_of(message.type)) + " out of turn"};
}

std::string reason_of(const Error& error) {
  if (error.code == ECONNRESET) return "the successor has ended, or closed the link";
  if (error.code == ETIMEDOUT) return "the successor took too long";
  if (error.code == ECANCELED) return "the daemon ends";
  return error.to_string();
}

Result<> expect(Link& link, MessageType type, TimePoint deadline) {
  const Result<Link::Received> received = link.receive(kLongestAnswer, deadline);
  if (received.has_error()) return received.error();
  if (received->message.type != type) return unexpected(received->message);
  return {};
}

// Fails if the successor gives up or ends before `deadline`.
Result<> stays(Link& link, TimePoint deadline) {
  const Result<Link::Received> received = link.receive(kLongestAnswer, deadline);
  if (received.has_value()) return unexpected(received->message);
  return received.error().code == ETIMEDOUT ? Result<>() : received.error();
}

void send_refusal(Link& link, std::string_view reason) {
  static_cast<void>(
      link.send(with_reason(MessageType::refused, reason), Clock::now() + kAnswerTime));
}

}  // namespace

Result<> Predecessor::start(OwnedFd listener) {
  listener_ = std::move(listener);
  Result<> started = or_shortage([this]() -> Result<> {
    thread_ = start_thread([this] {
      pthread_setname_np(pthread_self(), "takeover");
      run();
    });
    return {};
  });
  if (started.has_error()) listener_.reset();
  return started;
}

void Predecessor::end(json::object last_report) {
  if (thread_.joinable()) last_report_ = std::move(last_report);
  stop_.stop();
  if (thread_.joinable()) thread_.join();
}

OwnedFd Predecessor::copy_listener() const {
  return OwnedFd(::fcntl(listener_.get(), F_DUPFD_CLOEXEC, 0));
}

void Predecessor::run() {
  while (listener_) {
    std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
    for (const Failed& each : failed_) fds.push_back({each.process.get(), POLLIN, 0});
    wait_for(fds, Clock::now() + std::chrono::hours(1));
    if (fds[1].revents != 0) return;
    end_failed_ones();
    if (fds[0].revents != 0) take_newcomer();
  }
}

void Predecessor::end_failed_ones() {
  for (std::size_t i = failed_.size(); i-- > 0;) {
    if (!has_ended(failed_[i].process, Clock::now())) continue;
    hooks_.ended(failed_[i].runs);
    failed_.erase(failed_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Predecessor::take_newcomer() {
  OwnedFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    // For lack of descriptors: the peer waits.
    if (errno != EAGAIN && errno != EINTR) wait_for({}, Clock::now() + kReportInterval);
    return;
  }
  const Result<Peer> peer = peer_of(socket.get());
  Link link(std::move(socket), [this](int fd, short events, TimePoint deadline) {
    return wait(fd, events, deadline);
  });
  if (peer.has_error()) return send_refusal(link, peer.error().to_string());
  if (peer->uid != 0 && peer->uid != ::geteuid()) {
    return refuse(link, *peer, "only root and the user of the running process can take over");
  }
  talk(std::move(link), *peer);
}

// While another takeover goes on.
void Predecessor::refuse_newcomer() {
  OwnedFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    // For lack of descriptors: the peer waits, and this thread goes on.
    if (errno != EAGAIN && errno != EINTR) deaf_until_ = Clock::now() + kReportInterval;
    return;
  }
  const Result<Peer> peer = peer_of(socket.get());
  Link link(std::move(socket), wait_or_stop(stop_));
  if (peer.has_value()) refuse(link, *peer, "another takeover is going on");
}

Result<> Predecessor::wait(int fd, short events, TimePoint deadline) {
  while (true) {
    const bool deaf = Clock::now() < deaf_until_;
    std::array<pollfd, 3> fds{
        {{fd, events, 0}, {stop_.fd(), POLLIN, 0}, {deaf ? -1 : listener_.get(), POLLIN, 0}}};
    wait_for(fds, deaf ? std::min(deadline, deaf_until_) : deadline);
    if (fds[1].revents != 0) return Error{ECANCELED, "takeover link"};
    if (fds[0].revents != 0) return {};
    if (fds[2].revents != 0) {
      refuse_newcomer();
    } else if (Clock::now() >= deadline) {
      return Error{ETIMEDOUT, "takeover link"};
    }
  }
}

void Predecessor::talk(Link link, const Peer& peer) {
  const TimePoint began = Clock::now();
  const Result<Link::Received> hello = link.receive(kLongestAnswer, began + kHelloTime);
  // Whoever only looks whether somebody listens says nothing.
  if (hello.has_error()) return;
  // One that this process has started, and that cannot even ask.
  if (hello->message.type == MessageType::failed) {
    return refuse(link, peer, text_of(hello->message.body, "reason"));
  }
  const bool fits = hello->message.type == MessageType::hello &&
                    number_of(hello->message.body, "version") == kWireVersion;
  if (!fits) {
    return refuse(link, peer, "the running process speaks another version of the takeover");
  }
  if (const std::string reason = hooks_.refusal(); !reason.empty()) {
    return refuse(link, peer, reason);
  }
  log::info("takeover_began", {{"pid", static_cast<std::uint64_t>(peer.pid)}});
  const TimePoint deadline = began + kTakeoverTime;
  OwnedFd process = open_process(peer.pid);
  runs_.clear();
  Result<> taken = offer(link, deadline);
  if (taken.has_value()) taken = give(link, peer, deadline);
  if (taken.has_value()) return report_until_end(std::move(link));
  const std::string reason = reason_of(taken.error());
  // First of all.
  hooks_.release(peer.pid, reason);
  if (!runs_.empty()) failed_.push_back({std::move(process), std::exchange(runs_, {})});
  send_refusal(link, reason);
}

void Predecessor::refuse(Link& link, const Peer& peer, const std::string& reason) {
  log::warn("takeover_refused", {{"pid", static_cast<std::uint64_t>(peer.pid)},
                                 {"uid", std::uint64_t{peer.uid}},
                                 {"reason", reason}});
  hooks_.refused(peer.pid, reason);
  send_refusal(link, reason);
}

// Sends everything, and waits until the successor could accept.
Result<> Predecessor::offer(Link& link, TimePoint deadline) {
  Result<Handover> handover = hooks_.hand_over();
  if (handover.has_error()) return handover.error();
  HandoverMessage message = to_message(*std::move(handover));
  std::span<const OwnedFd> left = message.descriptors;
  while (!left.empty()) {
    const auto some = left.first(std::min(left.size(), kMostDescriptors));
    Result<> sent = link.send({MessageType::descriptors}, deadline, some);
    if (sent.has_error()) return sent;
    left = left.subspan(some.size());
  }
  Result<> sent = link.send({MessageType::state, std::move(message.body)}, deadline);
  if (sent.has_error()) return sent;
  const Result<Link::Received> ready = link.receive(kLongestAnswer, deadline);
  if (ready.has_error()) return ready.error();
  if (ready->message.type != MessageType::ready) return unexpected(ready->message);
  runs_ = texts_of(ready->message.body, "runs");
  return {};
}

Result<> Predecessor::give(Link& link, const Peer& peer, TimePoint deadline) {
  Result<json::object> held = hooks_.hold(peer.pid);
  if (held.has_error()) return held.error();
  Result<> sent = link.send({MessageType::go, *std::move(held)}, deadline);
  if (sent.has_error()) return sent;
  Result<> done = expect(link, MessageType::done, deadline);
  // If this process was stopped for a while, the other can have given up since.
  if (done.has_value()) done = stays(link, Clock::now());
  if (done.has_value()) {
    hooks_.confirmed(peer.pid);
    done = stays(link, Clock::now() + kReplyTime);
  }
  // A daemon that ends leaves the sockets to the one that accepts.
  const bool ends = done.has_error() && done.error().code == ECANCELED;
  if (done.has_error() && !ends) return done;
  link = Link(link.release(), wait_in_any_case);
  // It is over, even if the successor does not hear of it.
  Message released{MessageType::released, hooks_.let_go(peer.pid)};
  listener_.reset();
  static_cast<void>(link.send(released, Clock::now() + kAnswerTime));
  return {};
}

// Until the daemon ends, or nobody listens.
void Predecessor::report_until_end(Link talk) {
  // Half a report would be the last: only its time ends one.
  Link link(talk.release(), [this](int fd, short events, TimePoint deadline) -> Result<> {
    std::array<pollfd, 2> fds{{{fd, events, 0}, {stop_.fd(), POLLIN, 0}}};
    wait_for(fds, deadline);
    if (fds[0].revents != 0) return {};
    return wait_in_any_case(fd, events, std::min(deadline, Clock::now() + kLastReportTime));
  });
  TimePoint next = Clock::now() + kReportInterval;
  while (true) {
    std::array<pollfd, 2> fds{{{stop_.fd(), POLLIN, 0}, {link.fd(), POLLRDHUP, 0}}};
    wait_for(fds, next);
    const bool last = stop_.stopped();
    if (!last && fds[1].revents != 0) return;
    const Message report{MessageType::report, last ? std::move(last_report_) : hooks_.report()};
    if (link.send(report, Clock::now() + kReportTime).has_error() || last) return;
    next = std::max(next + kReportInterval, Clock::now());
  }
}

}  // namespace sluice::takeover
