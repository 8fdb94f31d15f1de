#include "iolib/mirror/mirror.h"

#include <algorithm>
#include <utility>

#include "iolib/mirror/stream.h"

namespace sluice::mirror {
namespace {

// The most bytes that one call discards.
constexpr std::size_t kWasteBytes = 64 << 10;
// The most waiting streams that connect in one turn.
constexpr int kServedInATurn = 16;

// Of Pace: while a server hangs, so many connect that their places are free again in time.
Duration interval(Duration drain_time, std::size_t most_streams) {
  return drain_time / std::max<Duration::rep>(static_cast<Duration::rep>(most_streams), 1);
}

}  // namespace

Mirror::Mirror(Reactor& reactor, std::vector<Endpoint> addresses, const Options& options)
    : reactor_(reactor),
      addresses_(std::make_shared<const std::vector<Endpoint>>(std::move(addresses))),
      most_streams_(options.most_streams),
      drain_time_(options.drain_time),
      budget_{options.budget_bytes},
      breaker_(options.seed),
      pace_(interval(options.drain_time, options.most_streams)),
      shedding_(options.shedding != nullptr ? *options.shedding : own_shedding_),
      waste_(kWasteBytes) {}

Mirror::~Mirror() = default;

void Mirror::set_limits(std::size_t budget_bytes, std::size_t most_streams) {
  budget_.limit_bytes = budget_bytes;
  most_streams_ = most_streams;
  pace_.set_interval(interval(drain_time_, most_streams));
  let_in();
}

Stream* Mirror::open(const StreamOptions& options) {
  if (shedding_.active()) return add(Count::shed), nullptr;
  if (streams_.size() >= most_streams_) return keep_out(), nullptr;
  if (silent()) return add(Count::refused), nullptr;
  const bool probe = !is_well();
  if (!breaker_.admit(reactor_.now())) return add(Count::refused), nullptr;
  if (probe) on_event(Event::half_opened, {});
  streams_.emplace_front(*this, options, probe);
  Stream& stream = streams_.front();
  stream.self_ = streams_.begin();
  add(Count::streams);
  add(Count::active);
  on_began();
  stream.begin();
  return stream.state_ == Stream::State::gone ? nullptr : &stream;
}

// No connect has been answered for a while, and the breaker has not opened yet.
bool Mirror::silent() const {
  return unanswered_ >= kMostUnanswered && reactor_.now() >= first_unanswered_ + kAnswerTime;
}

void Mirror::connects() {
  if (unanswered_++ == 0) first_unanswered_ = reactor_.now();
}

// Limits connects: otherwise connections would occupy all places of a server that hangs within a
// second. A stream that may not connect now waits for its turn.
bool Mirror::admit() { return line_.empty() && pace_.admit(reactor_.now()); }

void Mirror::join_line(Stream& stream) {
  add(Count::waiting);
  const bool is_first = line_.empty();
  line_.push_back(stream);
  if (is_first) look_at_line();
  if (!std::exchange(paced_, true)) on_event(Event::paced, {});
}

void Mirror::leave_line(Stream& stream) {
  subtract(Count::waiting);
  line_.erase(line_.iterator_to(stream));
  look_at_line();
}

// While the breaker is not closed, every waiting stream is refused at once. While no connect is
// answered, no stream gets a turn: either the breaker opens, or an answer comes.
TimePoint Mirror::next_turn() const {
  const TimePoint now = reactor_.now();
  if (!is_well()) return now;
  return silent() ? TimePoint::max() : pace_.next(now);
}

// Called after every change that affects the next turn or the end of pacing. Pacing ends at half a
// burst, so that it is not reported with every stream.
void Mirror::look_at_line() {
  const TimePoint next = line_.empty() ? TimePoint::max() : next_turn();
  next == TimePoint::max() ? reactor_.cancel_timer(*this) : reactor_.set_timer(*this, next);
  if (!paced_ || !line_.empty() || !pace_.is_free()) return;
  paced_ = false;
  on_event(Event::unpaced, {});
}

void Mirror::serve_line() {
  const TimePoint now = reactor_.now();
  for (int i = 0; i < kServedInATurn && !line_.empty(); ++i) {
    const bool well = is_well();
    if (well && (silent() || !pace_.admit(now))) break;
    static_cast<Stream&>(line_.front()).take_turn(well);
  }
  look_at_line();
}

void Mirror::sign_of_life() {
  pace_.sign_of_life();
  look_at_line();
}

void Mirror::place_left() {
  pace_.place_left();
  look_at_line();
}

void Mirror::keep_out() {
  add(Count::crowded);
  if (!std::exchange(crowded_, true)) on_event(Event::crowded, {});
}

// Waits for a quarter of the places: if one free place sufficed, the next connection could take it,
// and the one after that would be kept away again.
void Mirror::let_in() {
  if (!crowded_ || 4 * streams_.size() > 3 * most_streams_) return;
  crowded_ = false;
  on_event(Event::uncrowded, {});
}

void Mirror::stop() {
  paced_ = false;  // stop() frees the places, not the mirror
  for (Stream& stream : streams_) stream.stop();
}

void Mirror::connected(std::size_t address) {
  preferred_ = address;
  unanswered_ = 0;
  look_at_line();
}

void Mirror::connect_failed(const Error& error, bool probe) {
  add(Count::failed);
  unanswered_ = 0;
  failed(error, probe);
}

void Mirror::failed(const Error& error, bool probe) {
  const Breaker::State before = breaker_.state();
  breaker_.failed(reactor_.now(), probe);
  look_at_line();
  on_failed(error);
  if (breaker_.state() != before) on_event(Event::opened, {.error = error});
}

// The first stream that is broken off at once is tolerated, as a failed connect is retried. The
// second one in a row counts as a failure.
void Mirror::broken_off(const Stream& stream, const Error& error, bool at_once) {
  add(Count::ended);
  on_event(Event::ended, {.connection = stream.options_.connection, .error = error});
  if (!at_once) return;
  const bool again = std::exchange(broken_off_, true);
  if (again || !is_well()) failed(error, stream.probe_);
}

// A stream ended without being broken off at once, or its proof deadline has passed. If it
// connected while the breaker was not closed, it `proves` that the mirror is back, and the breaker
// closes.
void Mirror::lasted(bool proves) {
  broken_off_ = false;
  if (!proves || is_well()) return;
  breaker_.succeeded();
  on_event(Event::closed, {});
}

void Mirror::lagged(const Stream& stream, Limit limit) {
  add(Count::lagged);
  on_event(Event::lagged, {.connection = stream.options_.connection, .limit = limit});
  if (stream.options_.on_lag == OnLag::shed && shedding_.begin()) on_event(Event::shedding, {});
}

void Mirror::caught_up() {
  if (shedding_.caught_up()) on_event(Event::caught_up, {});
}

void Mirror::remove(Stream& stream) {
  subtract(Count::active);
  streams_.erase(stream.self_);
  let_in();
  on_gone();
}

}  // namespace sluice::mirror
