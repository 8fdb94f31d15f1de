#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "iolib/base/clock.h"

namespace sluice::mirror {

/// Keeps connections away from a mirror that is down, and now and then lets one of them find out
/// whether it is back.
///
/// Closed, it lets everybody through. Whoever fails opens it for a while, which is at least
/// kLeastOpen and otherwise chosen anew each time (full jitter) from a span that doubles with each
/// failure in a row: many workers and many hosts then do not come back at the same moment. After
/// that it is half open: one connection, the probe, is let through, and its success closes the
/// breaker, its failure opens it again. Used by one thread; the time is the caller's.
class Breaker {
 public:
  enum class State : std::uint8_t { closed, open, half_open };

  /// Long enough that a mirror which is down costs next to nothing, even with thousands of
  /// connections a second.
  static constexpr Duration kLeastOpen = std::chrono::milliseconds(500);
  static constexpr Duration kFirstSpan = std::chrono::seconds(1);
  /// A mirror that is back is found within this, and kLeastOpen.
  static constexpr Duration kLongestSpan = std::chrono::seconds(30);
  /// A connection that fails while the breaker is closed tries once more, within this time: enough
  /// for a mirror that was just restarted.
  static constexpr Duration kRetrySpan = std::chrono::milliseconds(200);

  explicit Breaker(std::uint32_t seed) : random_(seed) {}

  [[nodiscard]] State state() const { return state_; }
  /// Whether a connection may try now. What is let through half open is the probe.
  [[nodiscard]] bool admit(TimePoint now);
  /// Somebody has connected.
  void succeeded();
  /// Somebody could not connect, his retry included. Who is not the probe changes nothing but a
  /// closed breaker.
  void failed(TimePoint now, bool probe);

  /// When an open breaker becomes half open, for whoever asks next.
  [[nodiscard]] TimePoint open_until() const { return until_; }
  /// How long to wait before the retry.
  [[nodiscard]] Duration retry_pause() { return jitter(kRetrySpan); }

 private:
  [[nodiscard]] Duration jitter(Duration span);

  std::minstd_rand random_;
  TimePoint until_ = {};
  Duration span_ = kFirstSpan;
  State state_ = State::closed;
};

}  // namespace sluice::mirror
