#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "iolib/base/spinlock.h"

namespace sluice {

/// Decides which occurrences of repeated trouble are logged, so that it cannot flood the log.
///
/// The first occurrence is logged. While the trouble goes on, further lines follow after 10 s, then
/// after a minute, six minutes and so on, at most an hour; each has the number of occurrences. The
/// end is logged if the beginning was. After a minute without an occurrence the next one counts as
/// the first. Any thread.
class Repeated {
 public:
  static constexpr Duration kFirstPause = std::chrono::seconds(10);
  static constexpr Duration kLongestPause = std::chrono::hours(1);
  static constexpr Duration kQuiet = std::chrono::minutes(1);

  /// Reports that it happened `times` times at `now`; 0 means that it goes on. If a line is due,
  /// returns how often it happened since the last line.
  [[nodiscard]] std::optional<std::uint64_t> happened(TimePoint now, std::uint64_t times = 1);
  /// Reports that it may be over: it is if it has not happened for `calm`. If a line is due,
  /// returns how often it happened since the last logged end.
  [[nodiscard]] std::optional<std::uint64_t> ended(TimePoint now, Duration calm = {});

 private:
  Spinlock lock_;
  TimePoint last_;
  TimePoint next_line_;
  Duration pause_ = kFirstPause;
  std::uint64_t unlogged_ = 0;
  std::uint64_t since_end_ = 0;
  bool logged_ = false;  ///< a line was logged since the last end
};

/// Bounds the lines about what can happen very often to one a second. Any thread.
class EverySecond {
 public:
  static constexpr Duration kPause = std::chrono::seconds(1);

  /// Reports that it happened. Returns whether that gets a line of its own: nothing was logged for
  /// a second. Otherwise due() counts it.
  [[nodiscard]] bool happened(TimePoint now);
  /// If a line is due, returns how often it happened without one since the last.
  [[nodiscard]] std::optional<std::uint64_t> due(TimePoint now);
  /// Whether a line will be due.
  [[nodiscard]] bool is_pending();

 private:
  Spinlock lock_;
  TimePoint next_line_;
  std::uint64_t unlogged_ = 0;
};

}  // namespace sluice
