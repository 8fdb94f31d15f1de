#pragma once

#include <chrono>
#include <string_view>

#include "iolib/base/clock.h"

namespace sluice {

/// How far the program is, on stderr, so that a long wait does not look like a hang: on a terminal
/// in one place, written over and over; elsewhere a line each ten seconds.
class StatusLine {
 public:
  enum class Kind { none, in_place, lines };
  static constexpr Duration kInPlaceInterval = std::chrono::milliseconds(250);
  static constexpr Duration kLinesInterval = std::chrono::seconds(10);

  /// Of stderr, whatever it is.
  [[nodiscard]] static Kind kind_of_stderr();

  /// `rest`: until the first, on a terminal.
  StatusLine(Kind kind, TimePoint now, Duration rest = kInPlaceInterval)
      : kind_(kind), next_(now + (kind == Kind::lines ? kLinesInterval : rest)) {}
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  [[nodiscard]] bool is_due(TimePoint now) const { return kind_ != Kind::none && now >= next_; }
  void show(TimePoint now, std::string_view text);
  /// Takes what is in place away, whichever showed it: a line of something else may follow.
  static void clear();

 private:
  const Kind kind_;
  TimePoint next_;
};

}  // namespace sluice
