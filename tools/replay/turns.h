#pragma once

#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "tools/replay/plan.h"
#include "tools/replay/schedule.h"
#include "tools/replay/tally.h"

namespace sluice::replay {

/// The requests of one connection that were sent, and those that have an answer: how long each
/// waited for it, as recorded and now, goes to the tally.
class Turns {
 public:
  /// All are borrowed.
  Turns(const Plan& plan, std::uint64_t first_action, Tally& tally)
      : plan_(plan), tally_(tally), next_(first_action) {}

  /// One more, by an action that ends a turn.
  void sent() { ++sent_; }
  /// The answer has come to so many bytes; without a time, those before are only passed over.
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
  std::uint64_t next_;  // the action that an answer may come to next, or one before it
  std::uint64_t sent_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace sluice::replay
