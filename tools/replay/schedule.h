#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "iolib/base/clock.h"
#include "tools/replay/plan.h"

namespace sluice::replay {

/// When what was recorded at some time is due: always counted from one start, so that nothing adds
/// up over a long replay.
class Schedule {
 public:
  /// `first_ns` of the recording is due at `start`. A speed of 0: everything is due at once.
  Schedule(std::uint64_t first_ns, double speed, TimePoint start)
      : first_ns_(first_ns), speed_(speed), start_(start) {}

  [[nodiscard]] TimePoint due(std::uint64_t at_ns) const {
    if (speed_ == 0 || at_ns <= first_ns_) return start_;
    // Exact to the nanosecond for centuries: 64 bits of mantissa.
    const long double after =
        static_cast<long double>(at_ns - first_ns_) / static_cast<long double>(speed_);
    return start_ +
           std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(after, kMostNanoseconds)));
  }
  [[nodiscard]] TimePoint start() const { return start_; }

 private:
  // Later than anybody waits, and still no overflow of the clock.
  static constexpr long double kMostNanoseconds = 1e18L;
  std::uint64_t first_ns_;
  double speed_;
  TimePoint start_;
};

/// What is to be done about a connection's next action.
enum class Step : std::uint8_t {
  act,
  wait_until_due,
  wait_for_answer,
};

/// How far a connection's answer has come, for one that waits for answers.
struct AnswerState {
  bool waits = false;          ///< --wait-responses
  std::uint64_t received = 0;  ///< bytes, those that were waited for in vain included
  bool over = false;           ///< no more will come
};

/// An action is done once it is due and, if answers are waited for, as much of the answer has come
/// as had been recorded before it.
[[nodiscard]] inline Step next_step(const Action& action, TimePoint due, TimePoint now,
                                    const AnswerState& answer) {
  if (answer.waits && !answer.over && answer.received < action.answers_before) {
    return Step::wait_for_answer;
  }
  return due > now ? Step::wait_until_due : Step::act;
}

}  // namespace sluice::replay
