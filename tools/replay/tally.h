#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/capture/format.h"
#include "tools/common/histogram.h"
#include "tools/replay/mismatch.h"
#include "tools/replay/plan.h"

namespace sluice::replay {

/// A connection whose answer differs from the recorded one.
struct Difference {
  std::string id;
  Mismatch mismatch;
  std::uint64_t then_bytes = 0;
  std::uint64_t now_bytes = 0;
  capture::SideEnd then_end = capture::SideEnd::none;
  capture::SideEnd now_end = capture::SideEnd::none;
  std::uint64_t then_ns = 0;  ///< recorded duration of the connection
  std::uint64_t now_ns = 0;
};

/// A compared answer, whether it differs or not.
struct Compared {
  std::uint64_t connection = 0;  ///< index in Plan::connections
  std::uint64_t now_bytes = 0;
  std::uint64_t now_ns = 0;     ///< duration of the connection
  std::uint64_t first = kNone;  ///< offset of the first byte that differs
  capture::SideEnd now_end = capture::SideEnd::none;
  bool differs = false;
};

/// The counts and results of a replay so far.
struct Tally {
  /// The most differences, and the most different failure texts, that are kept; the others are only
  /// counted.
  static constexpr std::size_t kMostDifferences = 1000;
  static constexpr std::size_t kMostFailures = 20;
  /// The most compared answers that are kept: 4 MiB, and about ten times as much while they are
  /// written as JSON.
  static constexpr std::size_t kMostAnswers = 100'000;

  std::uint64_t connections = 0;     ///< connections begun
  std::uint64_t completed = 0;       ///< replayed to the recorded end
  std::uint64_t failed = 0;          ///< not connected, or failed before the recorded end
  std::uint64_t cut_at_gap = 0;      ///< ended by a reset at a gap in the recording
  std::uint64_t cut_at_end = 0;      ///< ended by a reset where their recording ends
  std::uint64_t not_waited_for = 0;  ///< their answers were not completely recorded
  std::uint64_t interrupted = 0;
  std::uint64_t short_answers = 0;   ///< answers that came late or not completely
  std::uint64_t silent_answers = 0;  ///< answers that silence completed
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  std::size_t most_at_once = 0;
  std::size_t waited = 0;  ///< times that a due connection had to wait for another to end
  Histogram then;          ///< ns from a request to its answer's first byte, as recorded
  Histogram now;           ///< the same for the same requests in this replay
  Histogram start_lag;     ///< ns by which connections began behind schedule
  Histogram lag;           ///< ns by which all other actions were behind schedule
  std::uint64_t last_start_lag_ns = 0;  ///< of the last connection to begin
  std::uint64_t last_lag_ns = 0;        ///< of the last beginning or other action
  std::map<std::string, std::uint64_t> failures;
  std::uint64_t compared = 0;
  std::uint64_t incomparable = 0;  ///< the answer was not completely recorded
  std::uint64_t different = 0;
  std::vector<Compared> answers;  ///< the first kMostAnswers compared answers
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
