#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "iolib/base/spinlock.h"

namespace sluice {

/// Trouble that comes again and again: when it is worth a line in the log. The first time is, then
/// how often it has been, after 10 s, a minute, six minutes and so on, up to an hour; and its end,
/// if its beginning was. After a minute without, the next time is a first one. Any thread.
class Repeated {
 public:
  static constexpr Duration kFirstPause = std::chrono::seconds(10);
  static constexpr Duration kLongestPause = std::chrono::hours(1);
  static constexpr Duration kQuiet = std::chrono::minutes(1);

  /// It happened so often at `now`; 0: it goes on. How often it did since the last line, if there
  /// is to be one.
  [[nodiscard]] std::optional<std::uint64_t> happened(TimePoint now, std::uint64_t times = 1);
  /// It is over, if it has not happened for `calm`. How often it did since the last end that was
  /// logged, if this one is to be.
  [[nodiscard]] std::optional<std::uint64_t> ended(TimePoint now, Duration calm = {});

 private:
  Spinlock lock_;
  TimePoint last_;
  TimePoint next_line_;
  Duration pause_ = kFirstPause;
  std::uint64_t unlogged_ = 0;
  std::uint64_t since_end_ = 0;
  bool logged_ = false;  ///< since the last end
};

}  // namespace sluice
