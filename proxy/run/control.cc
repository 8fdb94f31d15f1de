#include "proxy/run/control.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <utility>

#include "proxy/upstream/resolve.h"

namespace sluice {
namespace {

// How long the process waits for workers after the drain deadline has reset their sessions, which
// takes a turn or two.
constexpr Duration kLastGrace = std::chrono::seconds(2);
// The same after a second signal, which ends the process at once. With captures it is longer,
// because recorded bytes must still be written.
constexpr Duration kSecondSignalGrace = std::chrono::milliseconds(200);
constexpr Duration kSecondSignalCaptureGrace = kLastGrace;
// If a deadline is noticed later than this, the process was stopped meanwhile, and the workers get
// this much extra time.
constexpr Duration kLateDeadline = std::chrono::milliseconds(200);

}  // namespace

Control::Control(std::shared_ptr<const Config> config, std::size_t workers, Actions actions)
    : config_(std::move(config)),
      actions_(std::move(actions)),
      context_(std::make_shared<boost::asio::io_context>(1)),
      work_(context_->get_executor()),
      signals_(*context_),
      deadline_(*context_),
      repeated_(*context_),
      look_ups_(std::make_unique<LookUps>(config_, workers, context_, actions_.update_route)) {}

void Control::catch_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) signals_.add(signal);
}

void Control::run() {
  look_ups_->start();
  await_signal();
  context_->run();
}

void Control::finish() {
  boost::asio::post(*context_, [this] { context_->stop(); });
}

void Control::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    handle(signal);
    await_signal();
  });
}

void Control::handle(int signal) {
  if (signal == SIGHUP) return actions_.reload();
  if (signal == SIGUSR1) return actions_.print_stats();
  if (phase_ == Phase::draining) {
    return end_drain(records(*config_) ? kSecondSignalCaptureGrace : kSecondSignalGrace,
                     "second signal");
  }
  if (phase_ == Phase::handed_over) {
    phase_ = Phase::draining;
    return set_deadline(to_duration(config_->drain_timeout),
                        [this] { end_drain(kLastGrace, "drain timeout"); });
  }
  const Duration lame_duck = to_duration(config_->lame_duck);
  if (phase_ == Phase::lame_duck || signal == SIGINT || lame_duck == Duration::zero()) {
    return begin_drain();
  }
  phase_ = Phase::lame_duck;
  actions_.begin_lame_duck();
  set_deadline(lame_duck, [this] { begin_drain(); });
}

void Control::hand_over() {
  if (phase_ == Phase::draining) return;
  // A signal has asked for the end already.
  if (phase_ == Phase::lame_duck) return begin_drain();
  phase_ = Phase::handed_over;
  ending_ = "handed over";
  deadline_.cancel();
  actions_.begin_drain();
  const Duration time = to_duration(config_->takeover_drain);
  if (time == Duration::zero()) return;
  set_deadline(time, [this] {
    phase_ = Phase::draining;
    end_drain(kLastGrace, "takeover drain");
  });
}

void Control::begin_drain() {
  phase_ = Phase::draining;
  actions_.begin_drain();
  set_deadline(to_duration(config_->drain_timeout),
               [this] { end_drain(kLastGrace, "drain timeout"); });
}

void Control::repeat(Duration interval, std::function<void()> task) {
  repeated_.expires_after(interval);
  repeated_.async_wait([this, interval, task = std::move(task)](const auto& error) mutable {
    if (error) return;
    task();
    repeat(interval, std::move(task));
  });
}

// Calls `then` after `time`. If the process was stopped at the deadline, the workers must first
// handle the input of that time: the deadline then moves by kLateDeadline.
void Control::set_deadline(Duration time, const std::function<void()>& then) {
  deadline_.expires_after(time);
  deadline_.async_wait([this, then](const boost::system::error_code& error) {
    if (error) return;
    const bool stood_still = Clock::now() - deadline_.expiry() >= kLateDeadline;
    stood_still ? set_deadline(kLateDeadline, then) : then();
  });
}

// Resets all remaining sessions, because a stream that was cut must not look whole. If a worker
// still does not finish within `grace`, ends the process.
void Control::end_drain(Duration grace, std::string_view why) {
  ending_ = why;
  actions_.end_drain();
  set_deadline(grace, [this] { actions_.exit_now(); });
}

void Control::upstream_failed(std::size_t route, std::size_t server) {
  boost::asio::post(*context_,
                    [this, route, server] { look_ups_->upstream_failed(route, server); });
}

void Control::mirror_failed(const std::string& address) {
  boost::asio::post(*context_, [this, address] { look_ups_->mirror_failed(address); });
}

bool Control::set_lame_duck(bool lame_duck) {
  if (phase_ != Phase::running && phase_ != Phase::set_aside) return false;
  const Phase next = lame_duck ? Phase::set_aside : Phase::running;
  if (std::exchange(phase_, next) != next) actions_.set_lame_duck(lame_duck);
  return true;
}

void Control::use(std::shared_ptr<const Config> config, std::unique_ptr<LookUps> look_ups) {
  config_ = std::move(config);
  look_ups_ = std::move(look_ups);
  look_ups_->start();
}

Result<> Control::run_apart(std::function<void()> work, std::function<void()> then) {
  return sluice::run_apart(std::move(work), context_, std::move(then));
}

bool Control::begin_change(std::function<void()> when_free) {
  if (!std::exchange(is_changing_, true)) return true;
  if (when_free) when_free_ = std::move(when_free);
  return false;
}

void Control::end_change() {
  is_changing_ = false;
  if (when_free_) post(std::exchange(when_free_, nullptr));
}

void Control::post(std::function<void()> task) { boost::asio::post(*context_, std::move(task)); }

void Control::server_fell() {
  boost::asio::post(*context_, [this] { actions_.end_lost_sessions(); });
}

}  // namespace sluice
