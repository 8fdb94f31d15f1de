#pragma once

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstdint>

#include "iolib/base/clock.h"

namespace sluice::balance {

/// A bucket that holds up to `burst` tokens, is full at first, and gains `per_second` tokens a
/// second. It is exact: parts of a token are counted in billionths, and nothing is rounded.
///
/// What a token is worth is the caller's choice. If a connection costs 1,000 tokens, they are
/// thousandths of a connection.
///
/// Used by one thread at a time. The caller passes the time; an earlier time than before counts as
/// the same.
class TokenBucket {
 public:
  static constexpr std::uint64_t kMostBurst = 9'000'000'000;

  /// `per_second` is not 0; `burst` is at most kMostBurst.
  TokenBucket(std::uint64_t per_second, std::uint64_t burst)
      : per_nanosecond_(per_second), full_(burst * kParts), level_(full_) {
    assert(per_second > 0 && burst <= kMostBurst);
  }

  /// Takes `tokens` out. If there are fewer, takes none and returns false.
  [[nodiscard]] bool take(TimePoint now, std::uint64_t tokens) {
    refill(now);
    if (tokens > level_ / kParts) return false;
    level_ -= tokens * kParts;
    return true;
  }
  /// Puts `tokens` in, up to `burst`.
  void add(std::uint64_t tokens) {
    level_ = std::min(full_, level_ + std::min(tokens, kMostBurst) * kParts);
  }

 private:
  /// Parts of a token: `per_second` tokens a second are as many parts a nanosecond.
  static constexpr std::uint64_t kParts = std::nano::den;

  void refill(TimePoint now) {
    if (now <= refilled_) return;
    const std::chrono::nanoseconds passed = now - refilled_;
    const auto elapsed = static_cast<std::uint64_t>(passed.count());
    refilled_ = now;
    const std::uint64_t missing = full_ - level_;
    level_ += elapsed > missing / per_nanosecond_ ? missing : elapsed * per_nanosecond_;
  }

  std::uint64_t per_nanosecond_;  ///< parts
  std::uint64_t full_;            ///< parts, as is level_
  std::uint64_t level_;
  TimePoint refilled_ = {};
};

}  // namespace sluice::balance
