#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "tools/replay/plan.h"
#include "tools/replay/segment_files.h"

namespace sluice::replay {

/// Bytes of each answer that are not compared.
struct Ignored {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// How an answer differs from the recorded one.
struct Mismatch {
  std::optional<std::uint64_t> first;  ///< offset of the first byte that differs
  std::uint64_t last = 0;              ///< of the last one
  std::uint64_t bytes = 0;             ///< how many do
  std::string then = {};               ///< what was there, from `first` on, kShownBytes at most
  std::string now = {};
  static constexpr std::size_t kShownBytes = 16;
};

/// Compares an answer, as it comes, with what was recorded of it. What was not recorded, and what
/// comes behind the recorded end, is not compared.
class AnswerCheck {
 public:
  /// All are borrowed. `ignored` is ordered, and its ranges do not touch.
  AnswerCheck(const Plan& plan, SegmentFiles& files, const std::vector<Ignored>& ignored,
              std::uint64_t first_answer)
      : plan_(plan), files_(files), ignored_(ignored), part_(first_answer) {}

  /// The next bytes. Fails if the recorded ones cannot be read any more.
  [[nodiscard]] Result<> take(std::span<const std::byte> bytes);
  [[nodiscard]] const Mismatch& mismatch() const { return mismatch_; }

 private:
  void compare(std::span<const std::byte> now, std::span<const std::byte> then);
  [[nodiscard]] bool is_ignored(std::uint64_t offset) const;

  const Plan& plan_;
  SegmentFiles& files_;
  const std::vector<Ignored>& ignored_;
  std::uint64_t part_;        // of the recorded answer: the one that is at offset_, or comes next
  std::uint64_t offset_ = 0;  // in the stream
  Mismatch mismatch_;
};

}  // namespace sluice::replay
