#include "tools/replay/replayer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/common/interrupt.h"

namespace sluice::replay {
namespace {

// The most connections that begin in one turn, so that open ones get theirs.
constexpr int kMostOpenedInATurn = 32;
constexpr std::chrono::milliseconds kTick{50};

}  // namespace

void Replayer::run() {
  stage_.tally.began = Clock::now();
  begin_pass();
  tick();
  stage_.reactor.run();
  stage_.tally.ended = Clock::now();
}

void Replayer::begin_pass() {
  schedule_.emplace(stage_.plan.first_ns, pace_.speed, Clock::now(), stage_.plan.gaps);
  next_ = 0;
  stage_.reactor.defer(sweeper_);
}

void Replayer::open_due() {
  for (int opened = 0; next_ < stage_.plan.connections.size(); ++opened) {
    const PlannedConnection& planned = stage_.plan.connections[next_];
    const TimePoint due = schedule_->due(planned.start_ns);
    if (due > Clock::now()) return stage_.reactor.set_timer(opener_, due);
    if (opened == kMostOpenedInATurn) return stage_.reactor.defer(sweeper_);
    // The end of another connection resumes this.
    if (comes_later(planned)) return;
    if (live_.size() >= pace_.most_connections) {
      stage_.tally.waited += std::exchange(waits_, true) ? 0 : 1;
      return;
    }
    waits_ = false;
    auto connection = std::make_unique<Connection>(stage_, *schedule_, next_++, *this);
    Connection& opened_one = *connection;
    live_.emplace(&opened_one, std::move(connection));
    stage_.tally.most_at_once = std::max(stage_.tally.most_at_once, live_.size());
    ends_.insert(planned.end_ns);
    client_ends_.insert(planned.client_end_ns);
    client_open_.insert(&opened_one);
    opened_one.start();
  }
}

// Whether a connection has to wait for others to end. With --speed max or --wait-responses, the
// schedule does not ensure the recorded order. A connection that began after the end of another
// one, or of its client's side, then waits for the same end.
bool Replayer::comes_later(const PlannedConnection& planned) const {
  const bool by_order = pace_.speed == 0 || stage_.settings.wait_responses;
  const auto one_is_before = [&](const std::multiset<std::uint64_t>& times) {
    return !times.empty() && *times.begin() <= planned.start_ns;
  };
  return by_order && (one_is_before(client_ends_) || one_is_before(ends_));
}

void Replayer::client_ended(Connection& connection) {
  // With --wait-responses, the answers before the end have come, so the server has seen the
  // client's requests. Otherwise it may not have seen any of them.
  if (!stage_.settings.wait_responses) return;
  release_client(connection);
  stage_.reactor.defer(sweeper_);
}

void Replayer::ended(Connection& connection) {
  release_client(connection);
  ends_.erase(ends_.find(connection.planned().end_ns));
  const auto found = live_.find(&connection);
  over_.push_back(std::move(found->second));
  live_.erase(found);
  stage_.reactor.defer(sweeper_);
}

void Replayer::release_client(const Connection& connection) {
  if (client_open_.erase(&connection) == 0) return;
  client_ends_.erase(client_ends_.find(connection.planned().client_end_ns));
}

void Replayer::sweep() {
  over_.clear();
  if (next_ < stage_.plan.connections.size()) return open_due();
  if (!live_.empty()) return;
  if (++pass_ < pace_.repeat && !interrupted()) return begin_pass();
  stage_.reactor.cancel_timer(ticker_);
  stage_.reactor.stop();
}

void Replayer::tick() {
  if (interrupted()) return stop();
  Duration next{};
  if (live_.empty() && next_ < stage_.plan.connections.size()) {
    next = schedule_->due(stage_.plan.connections[next_].start_ns) - Clock::now();
  }
  progress_.show({stage_.tally.connections, stage_.plan.connections.size() * pace_.repeat,
                  live_.size(), stage_.tally.sent_bytes, stage_.tally.last_lag_ns, next});
  stage_.reactor.set_timer(ticker_, Clock::now() + kTick);
}

void Replayer::stop() {
  next_ = stage_.plan.connections.size();
  stage_.reactor.cancel_timer(opener_);
  std::vector<Connection*> all;
  for (const auto& [connection, owned] : live_) all.push_back(connection);
  for (Connection* connection : all) connection->interrupt();
  stage_.reactor.defer(sweeper_);
}

}  // namespace sluice::replay
