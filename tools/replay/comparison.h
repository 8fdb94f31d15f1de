#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "iolib/base/error.h"
#include "tools/replay/answer_check.h"
#include "tools/replay/masked_check.h"

namespace sluice::replay {

/// Compares an answer, as it arrives, with the recorded one. Masks what matches patterns, if there
/// are any.
class Comparison {
 public:
  /// All references must outlive the comparison.
  Comparison(const Plan& plan, SegmentFiles& files, const std::vector<Ignored>& ignored,
             const Patterns& patterns, const PlannedConnection& planned)
      : planned_(planned) {
    if (patterns.empty()) {
      plain_.emplace(plan, files, ignored, planned.first_answer);
    } else {
      masked_.emplace(plan, files, ignored, patterns, planned);
    }
  }

  /// Compares the next bytes. Fails if the recorded bytes can no longer be read.
  [[nodiscard]] Result<> take(std::span<const std::byte> bytes) {
    received_bytes_ += bytes.size();
    return plain_ ? plain_->take(bytes) : masked_->take(bytes);
  }
  /// The answer has ended; `whole`: where it should.
  [[nodiscard]] Result<> finish(bool whole) {
    return masked_ ? masked_->finish(whole) : Result<>();
  }
  [[nodiscard]] const Mismatch& mismatch() const {
    return plain_ ? plain_->mismatch() : masked_->mismatch();
  }
  /// How the answer's length compares with the recorded one's. Call it after finish().
  [[nodiscard]] std::strong_ordering size() const {
    return masked_ ? masked_->size() : received_bytes_ <=> planned_.answer_bytes;
  }

 private:
  const PlannedConnection& planned_;
  std::uint64_t received_bytes_ = 0;
  // One of these:
  std::optional<AnswerCheck> plain_;
  std::optional<MaskedCheck> masked_;
};

}  // namespace sluice::replay
