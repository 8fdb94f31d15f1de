#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iolib/base/error.h"
#include "tools/replay/mapped_array.h"

namespace sluice::replay {

/// Gaps of one kind that a replay does not wait for.
struct SkippedGaps {
  std::uint64_t count = 0;
  std::uint64_t ns = 0;  ///< recorded time that is skipped
};

/// The times of a recording in which nothing happens and that a replay skips, for all connections
/// at once.
class Gaps {
 public:
  Gaps() = default;

  /// The recorded time `at_ns` without what is skipped before it. Keeps the order of times.
  [[nodiscard]] std::uint64_t without(std::uint64_t at_ns) const;
  [[nodiscard]] const SkippedGaps& between_runs() const { return between_runs_; }
  /// What is cut off longer gaps.
  [[nodiscard]] const SkippedGaps& shortened() const { return shortened_; }

 private:
  friend class Activity;
  struct Skip {
    std::uint64_t until_ns = 0;    ///< where the gap ends
    std::uint64_t skipped_ns = 0;  ///< here and in all gaps before
  };
  void skip(std::uint64_t until_ns, std::uint64_t between_runs_ns, std::uint64_t shortened_ns);

  std::vector<Skip> skips_;  ///< ordered
  SkippedGaps between_runs_;
  SkippedGaps shortened_;
};

/// Collects the times at which something happens in a recording. Its size grows with the number of
/// gaps; the times between them are in a file without a name.
class Activity {
 public:
  /// Gaps within a run are shortened to `longest_gap_ns`.
  explicit Activity(std::uint64_t longest_gap_ns) : longest_gap_ns_(longest_gap_ns) {}

  /// Something happens at this time. `run` is the number of a run, counted from 0.
  [[nodiscard]] Result<> note(std::size_t run, std::uint64_t at_ns);
  /// The gaps. Sorts what was collected.
  [[nodiscard]] Gaps gaps();

 private:
  /// Times without a gap that is to be shortened.
  struct Span {
    std::uint64_t from_ns = 0;
    std::uint64_t to_ns = 0;
    [[nodiscard]] bool takes(std::uint64_t at_ns, std::uint64_t longest_gap_ns);
  };
  [[nodiscard]] std::vector<Span> between_runs() const;

  std::uint64_t longest_gap_ns_;
  std::size_t run_ = 0;      // of the last span
  std::vector<Span> runs_;   // by the run's number; without times: from_ns > to_ns
  MappedArray<Span> spans_;  // in the order in which they were read
};

}  // namespace sluice::replay
