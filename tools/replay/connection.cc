#include "tools/replay/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <compare>
#include <utility>

#include "iolib/base/readiness.h"
#include "iolib/pipe/splice.h"

namespace sluice::replay {
namespace {

using capture::SideEnd;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kConnectTimeout{10};
// How long to wait for what a server sent before it closed the connection.
constexpr std::chrono::seconds kLastWordsTimeout{2};
constexpr milliseconds kLookAgain{1};
// The most actions in one turn; then other connections get theirs.
constexpr int kMostActsInATurn = 64;

// Sends several records that are due at once in full segments: sending each by itself took 1.5
// times as long. The first record is not delayed, because mostly there is no second one.
class Cork {
 public:
  explicit Cork(const OwnedFd& fd) : fd_(fd) {}
  Cork(const Cork&) = delete;
  Cork& operator=(const Cork&) = delete;
  ~Cork() {
    if (set_ && fd_) set(0);
  }
  void set() {
    if (!std::exchange(set_, true)) set(1);
  }

 private:
  // Fails on a unix socket, which needs no cork.
  void set(int on) const { ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_CORK, &on, sizeof on); }
  const OwnedFd& fd_;
  bool set_ = false;
};

}  // namespace

Connection::Connection(const Stage& stage, const Schedule& schedule, std::uint64_t index,
                       Owner& owner)
    : stage_(stage),
      schedule_(schedule),
      index_(index),
      owner_(owner),
      address_(stage.address),
      action_(planned().first_action),
      turns_(stage.plan, planned().first_action, stage.tally) {
  const Settings& settings = stage_.settings;
  if (settings.compare && planned().answer_recorded) {
    check_.emplace(stage_.plan, stage_.files, settings.ignored, settings.patterns, planned());
  }
}

void Connection::became_writable(const Completion& /*completion*/) {
  state_ == State::closing ? close_when_idle() : proceed();
}

void Connection::received(const Completion& completion) {
  state_ == State::closing ? close_when_idle() : answered(completion);
}

void Connection::came_due() { state_ == State::flushing ? flush_then_reset() : proceed(); }

void Connection::limit_passed() { can_go_on() ? set_limit(kLookAgain) : out_of_time(); }

void Connection::start() {
  began_ = Clock::now();
  const std::uint64_t lag_ns = nanoseconds_of(began_ - schedule_.due(planned().start_ns));
  stage_.tally.start_lag.add(lag_ns);
  stage_.tally.last_start_lag_ns = lag_ns;
  stage_.tally.last_lag_ns = lag_ns;
  ++stage_.tally.connections;
  const bool all_answers = planned().answer_recorded && planned().answer_missing == 0;
  if (stage_.settings.wait_responses && !all_answers) ++stage_.tally.not_waited_for;
  connect();
}

// If a name has several addresses, the server may listen on only some of them.
void Connection::connect() {
  const ConnectOptions options{.endpoints = std::span(&target(), 1),
                               .deadline = Clock::now() + kConnectTimeout};
  connector_.emplace(*this, stage_.reactor, options);
  connector_->start();
}

void Connection::connect_ended(Result<Connected> connected) {
  connector_.reset();
  if (connected.has_value()) fd_ = std::move(connected->fd);
  if (state_ == State::closing) return close_when_idle();
  if (connected.has_error()) return connect_failed(connected.error());
  // A proxy accepts, and resets at once, if its own target is down.
  if (connected->broken != 0) {
    return connect_failed({connected->broken, "connect " + target().text});
  }
  stage_.address = address_;
  state_ = State::running;
  stage_.reactor.receive(fd_.get(), receive_);
  proceed();
}

void Connection::connect_failed(const Error& error) {
  if (++tried_ == stage_.settings.to.size()) return fail(error.to_string(), How::by_reset);
  if (fd_) stage_.reactor.forget(fd_.get());
  fd_.reset();
  address_ = (address_ + 1) % stage_.settings.to.size();
  connect();
}

const Endpoint& Connection::target() const { return stage_.settings.to[address_]; }

Action::Kind Connection::current_kind() const {
  return action_ == kNone ? Action::Kind::close : stage_.plan.actions[action_].kind;
}

AnswerState Connection::answer_state() const {
  return {stage_.settings.wait_responses && answering_now_ != Answering::silent,
          received_bytes_ + forgiven_bytes_, answer_end_ != SideEnd::none};
}

void Connection::proceed() {
  if (state_ != State::running || writable_.in_flight()) return;
  Cork cork(fd_);
  for (int acts = 0; acts < kMostActsInATurn; ++acts) {
    if (action_ == kNone) return finish_when_answered();
    Action& action = stage_.plan.actions[action_];
    const TimePoint now = Clock::now();
    const TimePoint due = schedule_.due(action.at_ns);
    const Step step = next_step(action, due, now, answer_state());
    if (step == Step::wait_for_answer) return wait_for_answer();
    stage_.reactor.cancel_timer(limit_);
    if (step == Step::wait_until_due) return stage_.reactor.set_timer(due_, due);
    if (!std::exchange(lag_noted_, true)) {
      stage_.tally.last_lag_ns = nanoseconds_of(now - due);
      stage_.tally.lag.add(stage_.tally.last_lag_ns);
      answering_ += milliseconds(action.answer_ms);
    }
    if (acts > 0) cork.set();
    if (stage_.settings.wait_responses) do_without_answer(action);
    if (!act(action, now)) return;
    answering_now_ = Answering::not_begun;
    action_ = action.next;
    part_bytes_ = 0;
    lag_noted_ = false;
  }
  stage_.reactor.set_timer(due_, Clock::now());
}

bool Connection::act(Action& action, TimePoint now) {
  switch (action.kind) {
    case Action::Kind::send:
      return send(action, now);
    case Action::Kind::eof:
      ::shutdown(fd_.get(), SHUT_WR);
      client_ended_ = true;
      owner_.client_ended(*this);
      return true;
    case Action::Kind::gap:
      cut_at_gap_ = true;
      flush_then_reset();
      break;
    case Action::Kind::cut:
      flush_then_reset();
      break;
    case Action::Kind::reset: {
      // In the recording, the answer had ended before this reset. If it has not ended yet, the
      // schedule is early: waits for it.
      const bool too_early = action.answer_over && answer_end_ == SideEnd::none;
      too_early ? await_end() : flush_then_reset();
      break;
    }
    case Action::Kind::close:
      finish_when_answered();
      break;
  }
  return false;
}

bool Connection::send(Action& action, TimePoint now) {
  const Result<int> file = stage_.files.at(action.segment, action.position + part_bytes_);
  if (!file) {
    fail(file.error().to_string(), How::by_reset);
    return false;
  }
  while (part_bytes_ < action.bytes) {
    if (action.ends_turn) action.sent_ns = nanoseconds_of(now.time_since_epoch());
    const Transfer sent =
        send_file(fd_.get(), *file, action.position + part_bytes_, action.bytes - part_bytes_);
    if (sent.status == Transfer::Status::would_block) {
      set_limit(stage_.settings.response_timeout);
      stage_.reactor.wait_writable(fd_.get(), writable_);
      return false;
    }
    if (sent.status == Transfer::Status::end) {
      fail("a segment became shorter during the replay", How::by_reset);
      return false;
    }
    if (sent.status == Transfer::Status::failed && sent.error == EIO) {  // no socket returns EIO
      const std::string& path = stage_.plan.segments[action.segment].path;
      fail(Error{EIO, "read " + path}.to_string(), How::by_reset);
      return false;
    }
    if (sent.status == Transfer::Status::failed) {
      broke();
      return false;
    }
    part_bytes_ += static_cast<std::uint32_t>(sent.bytes);
    stage_.tally.sent_bytes += sent.bytes;
  }
  if (action.ends_turn) turns_.sent();
  return true;
}

// What the server sent before it closed the connection can still be read.
void Connection::broke() {
  state_ = State::broken;
  set_limit(kLastWordsTimeout);
  if (!receive_.in_flight()) out_of_time();
}

void Connection::flush_then_reset() {
  // A reset discards unacknowledged data. On a unix socket, the peer already has everything.
  const std::uint64_t queued_bytes = target().is_unix() ? 0 : send_queue_bytes(fd_.get());
  // If the answer has ended, no receive reports a reset: asks the socket.
  const bool cut = !receive_.in_flight() && take_error(fd_.get()) != 0;
  if (queued_bytes == 0 || cut) return complete(How::by_reset);
  state_ = State::flushing;
  if (send_queue_.drains(queued_bytes)) set_limit(stage_.settings.response_timeout);
  stage_.reactor.set_timer(due_, Clock::now() + kLookAgain);
}

void Connection::finish_when_answered() {
  const bool will_end =
      planned().answer_recorded ? planned().answer_end == SideEnd::eof : client_ended_;
  if (answer_end_ != SideEnd::none) return complete(How::in_order);
  // The recorded connection was cut, by its server, by sluice or by its client, so this one must
  // not look complete.
  will_end ? await_end() : flush_then_reset();
}

void Connection::await_end() {
  state_ = State::draining;
  give_time_to_answer();
}

// Everything that was recorded of the connection is done.
void Connection::complete(How how) {
  switch (current_kind()) {
    case Action::Kind::gap:
      ++stage_.tally.cut_at_gap;
      break;
    case Action::Kind::cut:
      ++stage_.tally.cut_at_end;
      break;
    default:
      ++stage_.tally.completed;
  }
  finish(how);
}

void Connection::wait_for_answer() {
  if (!limit_.is_set()) give_time_to_answer();
}

// The server may take as long as it took in the recording, whatever the replay's speed, plus the
// response timeout.
void Connection::give_time_to_answer() {
  const TimePoint now = Clock::now();
  TimePoint then = now;
  if (action_ != kNone) then += milliseconds(stage_.plan.actions[action_].answer_ms);
  // The server may have to answer everything that was sent without waiting before it ends the
  // answer.
  if (state_ == State::draining) then = std::max(then, began_ + answering_);
  const std::chrono::nanoseconds time = then - now + stage_.settings.response_timeout;
  const std::chrono::nanoseconds silence = longest_silence();
  limit_is_silence_ =
      state_ == State::running && answering_now_ == Answering::begun && silence < time;
  set_limit(limit_is_silence_ ? silence : time);
}

// An answer that has begun counts as complete once the server has been silent for this long: its
// length can differ from the recorded one's.
std::chrono::nanoseconds Connection::longest_silence() const {
  constexpr milliseconds kLeast{100};
  constexpr int kPauses = 4;
  return std::max(kLeast, kPauses * milliseconds(planned().pause_ms));
}

void Connection::answered(const Completion& completion) {
  if (completion.result > 0) {
    const TimePoint now = Clock::now();
    received_bytes_ += completion.data.size();
    answering_now_ = Answering::begun;
    stage_.tally.received_bytes += completion.data.size();
    turns_.answered(received_bytes_ + forgiven_bytes_, now);
    if (check_) {
      if (const Result<> checked = check_->take(completion.data); !checked) {
        return fail(checked.error().to_string(), How::by_reset);
      }
    }
    stage_.reactor.receive(fd_.get(), receive_);
    // While part of the recorded answer is missing, each part that comes restarts the limit. The
    // length of an answer that was not recorded is unknown: its limit is not restarted.
    const bool awaited = state_ == State::draining || state_ == State::running;
    if (limit_.is_set() && awaited && !writable_.in_flight() &&
        received_bytes_ <= planned().answer_bytes) {
      give_time_to_answer();
    }
    if (stage_.settings.wait_responses && !due_.is_set()) proceed();
    return;
  }
  answer_end_ = completion.result == 0 ? SideEnd::eof : SideEnd::reset;
  if (answer_end_ == SideEnd::eof && state_ == State::running) return proceed();
  // The server still has to acknowledge what it was sent.
  if (answer_end_ == SideEnd::eof && state_ == State::flushing) return;
  if (answer_end_ == SideEnd::eof && state_ == State::draining) {
    return current_kind() == Action::Kind::reset ? flush_then_reset() : complete(How::in_order);
  }
  // A reset was to follow anyway.
  if (state_ == State::flushing) return complete(How::by_reset);
  out_of_time();
}

// The answer is late, or shorter than recorded. The next answers are measured from where it ended.
void Connection::do_without_answer(const Action& action) {
  if (received_bytes_ + forgiven_bytes_ >= action.answers_before) return;
  ++(answering_now_ == Answering::silent ? stage_.tally.silent_answers
                                         : stage_.tally.short_answers);
  forgiven_bytes_ = action.answers_before - received_bytes_;
  turns_.answered(received_bytes_ + forgiven_bytes_, {});
}

// Whether what it waits for is already there but not yet processed. If the process was stopped for
// a while, more may have arrived than one turn handles.
bool Connection::can_go_on() const {
  const bool sends = state_ == State::running && writable_.in_flight();
  const bool awaits =
      state_ == State::broken || ((state_ == State::running || state_ == State::draining) &&
                                  received_bytes_ <= planned().answer_bytes);
  if (!sends && !(awaits && receive_.in_flight())) return false;
  return ready_events(fd_.get(), sends ? POLLOUT : POLLIN) != 0;
}

// What the connection waited for has not come in time, or will not come.
void Connection::out_of_time() {
  switch (state_) {
    case State::running:
      if (answer_end_ == SideEnd::none && writable_.in_flight()) {
        return fail("the server stopped reading", How::by_reset);
      }
      if (answer_end_ == SideEnd::none && limit_is_silence_) {
        // More can still come before the next action is due.
        answering_now_ = Answering::silent;
        return proceed();
      }
      if (answer_end_ == SideEnd::none) {
        do_without_answer(stage_.plan.actions[action_]);
        return proceed();
      }
      [[fallthrough]];
    case State::broken:
      if (planned().answer_end == SideEnd::reset) return complete(How::by_reset);
      return fail("the server closed the connection early", How::by_reset);
    case State::flushing:
      return fail("the server stopped reading", How::by_reset);
    case State::draining:
      return fail(answer_end_ == SideEnd::reset ? "reset by the server"
                                                : "the server did not end the connection in time",
                  How::by_reset);
    case State::connecting:
    case State::closing:
      break;
  }
}

void Connection::interrupt() {
  if (state_ == State::closing) return;
  ++stage_.tally.interrupted;
  // The part of the answer that is missing is not a difference.
  check_.reset();
  finish(How::by_reset);
}

void Connection::fail(const std::string& why, How how) {
  stage_.tally.fail(why);
  finish(how);
}

void Connection::finish(How how) {
  if (state_ == State::closing) return;
  const bool stood = state_ != State::connecting;
  state_ = State::closing;
  how_ = how;
  stage_.reactor.cancel_timer(due_);
  stage_.reactor.cancel_timer(limit_);
  if (stood) compare_ends();
  if (connector_) connector_->cancel();
  if (writable_.in_flight()) stage_.reactor.cancel(writable_);
  if (receive_.in_flight()) stage_.reactor.cancel(receive_);
  close_when_idle();
}

void Connection::close_when_idle() {
  if (connector_ || writable_.in_flight() || receive_.in_flight()) return;
  if (fd_) {
    if (how_ == How::by_reset) reset_on_close(fd_.get());
    stage_.reactor.forget(fd_.get());
    fd_.reset();
  }
  owner_.ended(*this);
}

void Connection::compare_ends() {
  if (!stage_.settings.compare) return;
  const PlannedConnection& planned = this->planned();
  if (!planned.answer_recorded || planned.answer_missing > 0 || cut_at_gap_) {
    ++stage_.tally.incomparable;
  }
  if (!check_) return;
  // If the client or the recording cut the answer off, more of it may come now. Requests that are
  // lost get no answer.
  const bool whole = planned.answer_end == SideEnd::eof && !cut_at_gap_;
  const bool must_come = whole || (stage_.settings.wait_responses && !cut_at_gap_);
  if (const Result<> checked = check_->finish(whole); !checked) {
    stage_.tally.fail(checked.error().to_string());
  }
  const std::strong_ordering size = check_->size();
  const bool other_size = whole ? std::is_neq(size) : must_come && std::is_lt(size);
  const bool other_end = whole && answer_end_ != planned.answer_end;
  const Mismatch& mismatch = check_->mismatch();
  const std::optional<std::uint64_t> first = mismatch.first;
  const bool differs = first || other_size || other_end;
  const std::uint64_t took_ns = nanoseconds_of(Clock::now() - began_);
  stage_.tally.compare(
      {index_, received_bytes_, took_ns, first.value_or(kNone), answer_end_, differs});
  if (!differs) return;
  if (stage_.tally.differences.size() == Tally::kMostDifferences) return;
  stage_.tally.differences.push_back({stage_.plan.name_of(planned), mismatch, planned.answer_bytes,
                                      received_bytes_, planned.answer_end, answer_end_,
                                      planned.end_ns - planned.start_ns, took_ns});
}

void Connection::set_limit(std::chrono::nanoseconds time) {
  stage_.reactor.set_timer(limit_, Clock::now() + time);
}

}  // namespace sluice::replay
