#include "iolib/mirror/mirror.h"

#include <algorithm>
#include <utility>

#include "iolib/mirror/stream.h"

namespace sluice::mirror {
namespace {

// In one call that many bytes of answers are dropped.
constexpr std::size_t kWasteBytes = 64 << 10;
// Connects of streams that waited for them.
constexpr int kServedInATurn = 16;

}  // namespace

Mirror::Mirror(Reactor& reactor, std::vector<Endpoint> addresses, const Options& options)
    : reactor_(reactor),
      addresses_(std::make_shared<const std::vector<Endpoint>>(std::move(addresses))),
      most_streams_(options.most_streams),
      drain_time_(options.drain_time),
      budget_{options.budget_bytes},
      breaker_(options.seed),
      pace_(options.drain_time /
            std::max<Duration::rep>(static_cast<Duration::rep>(options.most_streams), 1)),
      shedding_(options.shedding != nullptr ? *options.shedding : own_shedding_),
      waste_(kWasteBytes) {}

Mirror::~Mirror() = default;

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

// Nobody has been answered lately, and the breaker does not know it yet.
bool Mirror::silent() const {
  return unanswered_ >= kMostUnanswered && reactor_.now() >= first_unanswered_ + kAnswerTime;
}

void Mirror::connects() {
  if (unanswered_++ == 0) first_unanswered_ = reactor_.now();
}

// A server that hangs would else have all its places taken within a second, by connections that pay
// for it. Those that may not connect now wait for their turn.
bool Mirror::admit() { return line_.empty() && pace_.admit(reactor_.now()); }

void Mirror::join_line(Stream& stream) {
  add(Count::waiting);
  stream.place_ = line_.insert(line_.end(), &stream);
  if (line_.size() == 1) look_at_line();
  if (!std::exchange(paced_, true)) on_event(Event::paced, {});
}

void Mirror::leave_line(Stream& stream) {
  subtract(Count::waiting);
  line_.erase(stream.place_);
  look_at_line();
}

// While the breaker is not closed a turn is to be refused, and while nobody is answered nobody has
// one: either the breaker will open, or an answer comes.
TimePoint Mirror::next_turn() const {
  const TimePoint now = reactor_.now();
  if (!is_well()) return now;
  return silent() ? TimePoint::max() : pace_.next(now);
}

// After anything that the next turn, or the end of pacing, depends on. The end is at half a burst,
// so that it is not told with every stream.
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
    line_.front()->take_turn(well);
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

// Not with the first place that is free: the next connection may take it, and the one after that be
// kept away.
void Mirror::let_in() {
  if (!crowded_ || 4 * streams_.size() > 3 * most_streams_) return;
  crowded_ = false;
  on_event(Event::uncrowded, {});
}

void Mirror::stop() {
  paced_ = false;  // its places become free by this, not by the mirror
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

// The first is forgiven: as with a connect there is one more try, the next connection.
void Mirror::broken_off(const Stream& stream, const Error& error, bool at_once) {
  add(Count::ended);
  on_event(Event::ended, {.connection = stream.options_.connection, .error = error});
  if (!at_once) return;
  const bool again = std::exchange(broken_off_, true);
  if (again || !is_well()) failed(error, stream.probe_);
}

// A stream was not broken off at once. One that was connected while the breaker was not closed
// `proves` that it may be.
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
