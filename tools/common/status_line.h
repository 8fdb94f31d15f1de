#pragma once

#include <chrono>
#include <string_view>

#include "iolib/base/clock.h"

namespace sluice {

/// Shows a program's progress on stderr. On a terminal it rewrites one line in place; otherwise it
/// prints a line every ten seconds. One thread.
class StatusLine {
 public:
  enum class Kind { none, in_place, lines };
  static constexpr Duration kInPlaceInterval = std::chrono::milliseconds(250);
  static constexpr Duration kLinesInterval = std::chrono::seconds(10);

  /// The kind that suits stderr: in_place on a terminal, else lines.
  [[nodiscard]] static Kind kind_of_stderr();

  /// `rest`: the delay before the first line in place.
  StatusLine(Kind kind, TimePoint now, Duration rest = kInPlaceInterval)
      : kind_(kind), next_(now + (kind == Kind::lines ? kLinesInterval : rest)) {}
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  [[nodiscard]] bool is_due(TimePoint now) const { return kind_ != Kind::none && now >= next_; }
  /// Shows `text`, and sets the time at which the next text is due.
  void show(TimePoint now, std::string_view text);
  /// Erases the line in place, whichever object printed it. Call it before printing anything else.
  static void clear();

 private:
  const Kind kind_;
  TimePoint next_;
};

}  // namespace sluice
