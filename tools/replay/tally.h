#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/capture/format.h"
#include "tools/common/histogram.h"
#include "tools/replay/answer_check.h"

namespace sluice::replay {

/// A connection whose answer is not the recorded one.
struct Difference {
  std::string id;
  Mismatch mismatch;
  std::uint64_t then_bytes = 0;
  std::uint64_t now_bytes = 0;
  capture::SideEnd then_end = capture::SideEnd::none;
  capture::SideEnd now_end = capture::SideEnd::none;
  std::uint64_t then_ns = 0;  ///< from the beginning to the end
  std::uint64_t now_ns = 0;
};

/// An answer compared, whether it differs or not.
struct Compared {
  std::uint64_t connection = 0;  ///< of the plan's
  std::uint64_t now_bytes = 0;
  std::uint64_t now_ns = 0;     ///< from the beginning to the end
  std::uint64_t first = kNone;  ///< offset of the first byte that differs
  capture::SideEnd now_end = capture::SideEnd::none;
  bool differs = false;
};

/// What a replay has done so far.
struct Tally {
  /// As many differences, and kinds of failures, are remembered; the others are counted.
  static constexpr std::size_t kMostDifferences = 1000;
  static constexpr std::size_t kMostFailures = 20;
  /// Of those compared: 4 MiB, and some ten times as much while they are written as JSON.
  static constexpr std::size_t kMostAnswers = 100'000;

  std::uint64_t connections = 0;     ///< begun
  std::uint64_t completed = 0;       ///< done to the recorded end
  std::uint64_t failed = 0;          ///< not connected, or ended by the server before that
  std::uint64_t cut_at_gap = 0;      ///< ended by a reset where the recording has a gap ...
  std::uint64_t cut_at_end = 0;      ///< ... or ends
  std::uint64_t not_waited_for = 0;  ///< to be waited for, but not all of the answer was recorded
  std::uint64_t interrupted = 0;
  std::uint64_t short_answers = 0;  ///< waited for in vain
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  std::size_t most_at_once = 0;
  std::size_t waited = 0;  ///< connections that were due while as many as allowed were open
  Histogram then;          ///< ns from a request to the first byte of its answer, as recorded
  Histogram now;           ///< the same requests', in this replay
  Histogram start_lag;     ///< ns that connections began behind schedule
  Histogram lag;           ///< ns that all else was behind schedule
  std::uint64_t last_start_lag_ns = 0;  ///< of the connection that began last
  std::uint64_t last_lag_ns = 0;        ///< of what came last, of both
  std::map<std::string, std::uint64_t> failures;
  std::uint64_t compared = 0;
  std::uint64_t incomparable = 0;  ///< the upstream's side was not recorded, or not all of it
  std::uint64_t different = 0;
  std::vector<Compared> answers;  ///< the first kMostAnswers
  std::vector<Difference> differences;
  TimePoint began;
  TimePoint ended;

  void compare(const Compared& answer) {
    ++compared;
    if (answer.differs) ++different;
    if (answers.size() < kMostAnswers) answers.push_back(answer);
  }
  void fail(const std::string& why) {
    ++failed;
    const bool known = failures.contains(why) || failures.size() < kMostFailures;
    ++failures[known ? why : "other failures"];
  }
};

}  // namespace sluice::replay
