#pragma once

#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "tools/replay/plan.h"
#include "tools/replay/schedule.h"
#include "tools/replay/tally.h"

namespace sluice::replay {

/// Matches the requests that one connection sent with their answers. Adds to the tally how long
/// each request waited for its answer, in the recording and now.
class Turns {
 public:
  /// Borrows `plan` and `tally`.
  Turns(const Plan& plan, std::uint64_t first_action, Tally& tally)
      : plan_(plan), tally_(tally), next_(first_action) {}

  /// A request was sent, by an action that ends a turn.
  void sent() { ++sent_; }
  /// The answer has reached `bytes`. Without a time, the requests answered by then are only
  /// skipped.
  void answered(std::uint64_t bytes, std::optional<TimePoint> now) {
    while (answered_ < sent_) {
      const Action& action = plan_.actions[next_];
      if (action.ends_turn) {
        if (action.answers_before >= bytes) return;
        ++answered_;
        if (now) {
          tally_.then.add(action.then_ns);
          tally_.now.add(nanoseconds_of(now->time_since_epoch()) - action.sent_ns);
        }
      }
      next_ = action.next;
    }
  }

 private:
  const Plan& plan_;
  Tally& tally_;
  std::uint64_t next_;  // the action that is answered next, or one before it
  std::uint64_t sent_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace sluice::replay
