#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "iolib/base/error.h"
#include "tools/replay/masked_stream.h"
#include "tools/replay/mismatch.h"
#include "tools/replay/patterns.h"
#include "tools/replay/plan.h"
#include "tools/replay/segment_files.h"

namespace sluice::replay {

/// Compares an answer with the recorded one after masking what matches patterns in both. Matches
/// can have different lengths. Nothing is compared behind a gap in the recorded answer.
class MaskedCheck {
 public:
  /// All references must outlive the check.
  MaskedCheck(const Plan& plan, SegmentFiles& files, const std::vector<Ignored>& ignored,
              const Patterns& patterns, const PlannedConnection& planned)
      : plan_(plan),
        files_(files),
        ignored_(ignored),
        planned_(planned),
        part_(planned.first_answer),
        then_(patterns),
        now_(patterns) {}

  /// Compares the next bytes. Fails if the recorded bytes can no longer be read.
  [[nodiscard]] Result<> take(std::span<const std::byte> bytes);
  /// Compares the rest: the answer has ended. Unless it is `whole`, it can have been cut off inside
  /// a match.
  [[nodiscard]] Result<> finish(bool whole);
  [[nodiscard]] const Mismatch& mismatch() const { return mismatch_; }
  /// How the masked answer's length compares with the recorded one's. Call it after finish().
  [[nodiscard]] std::strong_ordering size() const;

 private:
  /// How far the recorded answer was read.
  enum class Recorded : std::uint8_t { going_on, ended, at_gap };

  [[nodiscard]] Result<> read_until(std::uint64_t produced);
  void compare();
  [[nodiscard]] bool may_be_cut_off(const MaskedStream& stream, std::size_t at,
                                    std::uint64_t match_bytes) const;
  void note(std::uint64_t original_offset, std::size_t at);

  const Plan& plan_;
  SegmentFiles& files_;
  const std::vector<Ignored>& ignored_;
  const PlannedConnection& planned_;
  std::uint64_t part_;  // of the recorded answer: the next to be read
  Recorded recorded_ = Recorded::going_on;
  std::uint64_t then_bytes_ = 0;  // read of it
  std::uint64_t now_bytes_ = 0;   // received
  MaskedStream then_;
  MaskedStream now_;
  bool then_cut_ = false;  // then_ is finished, but the answer went on
  bool now_cut_ = false;
  bool settled_ = false;  // the rest cannot be compared
  Mismatch mismatch_;
};

}  // namespace sluice::replay
