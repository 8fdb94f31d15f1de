#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// Keeps connections away from a mirror that is down, and lets single connections, the probes, find
/// out whether it is back.
///
/// Closed, the breaker admits every connection; the first one that fails opens it. Open, it admits
/// none until open_until(). The first connection that asks after that is the probe, and the breaker
/// is half open: it admits no other. If the probe succeeds, the breaker closes. If the probe fails,
/// the breaker opens again.
///
/// The breaker stays open for kLeastOpen plus a random time (full jitter), so that many workers and
/// hosts do not come back at the same moment. The range of the random time doubles with each
/// failure in a row.
///
/// Used by one thread, unless noted otherwise. The caller passes the time.
class Breaker {
 public:
  enum class State : std::uint8_t { closed, open, half_open };

  /// Long enough that a mirror which is down costs almost nothing, even at thousands of connections
  /// a second.
  static constexpr Duration kLeastOpen = std::chrono::milliseconds(500);
  static constexpr Duration kFirstSpan = std::chrono::seconds(1);
  /// The breaker stays open for at most this and kLeastOpen: a mirror that is back is found within
  /// that time.
  static constexpr Duration kLongestSpan = std::chrono::seconds(30);
  /// A connection that fails while the breaker is closed tries once more within this time. That is
  /// enough for a mirror that was just restarted.
  static constexpr Duration kRetrySpan = std::chrono::milliseconds(200);

  explicit Breaker(std::uint32_t seed) : random_(seed) {}

  /// Any thread.
  [[nodiscard]] State state() const { return state_.load(std::memory_order_relaxed); }
  /// Whether a connection may connect now. One that is admitted while the breaker is not closed is
  /// the probe.
  [[nodiscard]] bool admit(TimePoint now);
  /// A connection succeeded. Closes the breaker.
  void succeeded();
  /// A connection failed, its retry included. Opens a closed breaker. In the half-open state only
  /// the probe's failure counts; an open breaker stays as it is.
  void failed(TimePoint now, bool probe);

  /// From then on an open breaker admits a probe.
  [[nodiscard]] TimePoint open_until() const { return until_; }
  /// How long a connection waits before its retry: a random time up to kRetrySpan.
  [[nodiscard]] Duration retry_pause() { return jitter(kRetrySpan); }

 private:
  void enter(State state) { state_.store(state, std::memory_order_relaxed); }
  [[nodiscard]] Duration jitter(Duration span);

  std::minstd_rand random_;
  TimePoint until_ = {};
  Duration span_ = kFirstSpan;
  std::atomic<State> state_{State::closed};
};

}  // namespace sluice::mirror
