#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "iolib/base/error.h"
#include "tools/replay/mismatch.h"
#include "tools/replay/plan.h"
#include "tools/replay/segment_files.h"

namespace sluice::replay {

/// Compares an answer, as it arrives, with the recorded one. Bytes that were not recorded, and
/// bytes behind the recorded end, are not compared.
class AnswerCheck {
 public:
  /// All references must outlive the check. `ignored` is ordered, and its ranges do not touch.
  /// `first_answer` is PlannedConnection::first_answer.
  AnswerCheck(const Plan& plan, SegmentFiles& files, const std::vector<Ignored>& ignored,
              std::uint64_t first_answer)
      : plan_(plan), files_(files), ignored_(ignored), part_(first_answer) {}

  /// Compares the next bytes. Fails if the recorded bytes can no longer be read.
  [[nodiscard]] Result<> take(std::span<const std::byte> bytes);
  [[nodiscard]] const Mismatch& mismatch() const { return mismatch_; }

 private:
  void compare(std::span<const std::byte> now, std::span<const std::byte> then);

  const Plan& plan_;
  SegmentFiles& files_;
  const std::vector<Ignored>& ignored_;
  std::uint64_t part_;        // of the recorded answer: the one at offset_, or the next one
  std::uint64_t offset_ = 0;  // of the next byte in the answer
  Mismatch mismatch_;
};

}  // namespace sluice::replay
