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
      : per_nanosecond_(per_second), full_(parts(burst)), level_(full_) {
    assert(per_second > 0 && burst <= kMostBurst);
  }

  /// Takes `tokens` out. If there are fewer, takes none and returns false.
  [[nodiscard]] bool take(TimePoint now, std::uint64_t tokens) {
    refill(now);
    if (tokens > kMostBurst || parts(tokens) > level_) return false;
    level_ -= parts(tokens);
    return true;
  }
  /// Takes `tokens` out even if there are fewer, and returns when there will be enough: `now`, or
  /// later. Until then, take() returns false, and further reservations are behind this one. The
  /// bucket never owes more than kMostBurst tokens; beyond that, it forgets them.
  [[nodiscard]] TimePoint reserve(TimePoint now, std::uint64_t tokens) {
    refill(now);
    const std::int64_t taken = parts(std::min(tokens, kMostBurst));
    const std::int64_t least = -parts(kMostBurst);
    level_ = level_ < least + taken ? least : level_ - taken;
    if (level_ >= 0) return now;
    const std::uint64_t missing = static_cast<std::uint64_t>(-level_);
    const std::uint64_t pause = (missing - 1) / per_nanosecond_ + 1;
    return std::max(now, refilled_ + std::chrono::nanoseconds(static_cast<std::int64_t>(pause)));
  }
  /// How many tokens take() would give.
  [[nodiscard]] std::uint64_t available(TimePoint now) {
    refill(now);
    return level_ < 0 ? 0 : static_cast<std::uint64_t>(level_) / kParts;
  }
  /// Puts `tokens` in, up to `burst`.
  void add(std::uint64_t tokens) {
    const std::int64_t added = parts(std::min(tokens, kMostBurst));
    level_ = level_ > full_ - added ? full_ : level_ + added;
  }

 private:
  /// Parts of a token: `per_second` tokens a second are as many parts a nanosecond.
  static constexpr std::uint64_t kParts = std::nano::den;
  [[nodiscard]] static std::int64_t parts(std::uint64_t tokens) {
    return static_cast<std::int64_t>(tokens * kParts);
  }

  void refill(TimePoint now) {
    if (now <= refilled_) return;
    const std::chrono::nanoseconds passed = now - refilled_;
    const auto elapsed = static_cast<std::uint64_t>(passed.count());
    refilled_ = now;
    // Twice kMostBurst in parts is more than a signed number holds, and less than an unsigned one.
    const auto level = static_cast<std::uint64_t>(level_);
    const std::uint64_t missing = static_cast<std::uint64_t>(full_) - level;
    const bool fills = elapsed > missing / per_nanosecond_;
    level_ = fills ? full_ : static_cast<std::int64_t>(level + elapsed * per_nanosecond_);
  }

  std::uint64_t per_nanosecond_;  ///< parts
  std::int64_t full_;             ///< parts, as is level_
  std::int64_t level_;            ///< less than 0: reserved
  TimePoint refilled_ = {};
};

}  // namespace sluice::balance
