#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "iolib/base/clock.h"
#include "tools/replay/gaps.h"
#include "tools/replay/plan.h"

namespace sluice::replay {

/// A duration as the plan and the tally count it; 0 if it is negative.
[[nodiscard]] inline std::uint64_t nanoseconds_of(Duration duration) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(
      0, std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()));
}

/// Maps recorded times to the times at which they are due. All times count from one start, so that
/// errors do not accumulate over a long replay.
class Schedule {
 public:
  /// `first_ns` is the recorded time that is due at `start`. With a speed of 0 everything is due at
  /// once. Skips `gaps`, which must outlive it.
  Schedule(std::uint64_t first_ns, double speed, TimePoint start, const Gaps& gaps)
      : first_ns_(gaps.without(first_ns)), speed_(speed), start_(start), gaps_(gaps) {}

  [[nodiscard]] TimePoint due(std::uint64_t at_ns) const {
    if (speed_ == 0) return start_;
    at_ns = gaps_.without(at_ns);
    if (at_ns <= first_ns_) return start_;
    // A mantissa of 64 bits is exact to the nanosecond for centuries.
    const long double after =
        static_cast<long double>(at_ns - first_ns_) / static_cast<long double>(speed_);
    return start_ +
           std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(after, kMostNanoseconds)));
  }
  [[nodiscard]] TimePoint start() const { return start_; }

 private:
  // 30 years: longer than anyone waits, and no overflow of the clock.
  static constexpr long double kMostNanoseconds = 1e18L;
  std::uint64_t first_ns_;
  double speed_;
  TimePoint start_;
  const Gaps& gaps_;
};

/// What a connection has to do before its next action.
enum class Step : std::uint8_t {
  act,
  wait_until_due,
  wait_for_answer,
};

/// The progress of a connection's answer.
struct AnswerState {
  bool waits = false;          ///< --wait-responses
  std::uint64_t received = 0;  ///< bytes, plus those that were waited for in vain
  bool over = false;           ///< the answer has ended
};

/// An action is performed once it is due. With --wait-responses, as much of the answer must also
/// have come as was recorded before the action.
[[nodiscard]] inline Step next_step(const Action& action, TimePoint due, TimePoint now,
                                    const AnswerState& answer) {
  if (answer.waits && !answer.over && answer.received < action.answers_before) {
    return Step::wait_for_answer;
  }
  return due > now ? Step::wait_until_due : Step::act;
}

}  // namespace sluice::replay
