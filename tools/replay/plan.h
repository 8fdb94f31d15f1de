#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/capture_set.h"
#include "iolib/capture/filter.h"
#include "iolib/capture/format.h"
#include "tools/replay/gaps.h"
#include "tools/replay/mapped_array.h"

namespace sluice::replay {

/// The index of no element.
inline constexpr std::uint64_t kNone = ~std::uint64_t{0};

/// One action of a recorded client. Actions are linked in the order in which they were recorded.
/// Times are wall-clock nanoseconds, derived from the recording's monotonic clock.
struct Action {
  enum class Kind : std::uint8_t {
    send,   ///< `bytes` bytes at `position` in `segment`
    eof,    ///< the client's side ended in order
    reset,  ///< the client's side was reset
    gap,    ///< the client's next bytes are not recorded
    close,  ///< both sides of the connection were over
    cut,    ///< the recording ends before the connection did
  };
  std::uint64_t next = kNone;  ///< the connection's next action
  std::uint64_t at_ns = 0;
  std::uint64_t position = 0;        ///< in the segment's file
  std::uint64_t answers_before = 0;  ///< offset that the upstream's stream had reached; gap: 0
  std::uint64_t then_ns = 0;         ///< ends_turn: recorded time until the answer's first byte
  std::uint64_t sent_ns = 0;         ///< ends_turn: when this replay sent it
  std::uint32_t segment = 0;
  std::uint32_t bytes = 0;
  std::uint32_t answer_ms = 0;  ///< from the previous action to the last answer before this one
  Kind kind = Kind::send;
  bool ends_turn = false;    ///< the answer's next bytes came before another send
  bool answer_over = false;  ///< the answer had already ended in order
};

/// A contiguous part of the recorded answer.
struct Answer {
  std::uint64_t next = kNone;
  std::uint64_t offset = 0;  ///< in the upstream's stream
  std::uint64_t position = 0;
  std::uint32_t segment = 0;
  std::uint32_t bytes = 0;
};

/// A connection whose recording has its beginning, so that it can be replayed.
struct PlannedConnection {
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;         ///< time of the last record
  std::uint64_t client_end_ns = 0;  ///< time at which the client's side ended
  std::uint64_t first_action = kNone;
  std::uint64_t first_answer = kNone;
  std::uint64_t client_bytes = 0;    ///< recorded bytes, up to the first gap
  std::uint64_t answer_bytes = 0;    ///< offset that the upstream's stream reached
  std::uint64_t answer_missing = 0;  ///< bytes of them that were not recorded
  std::uint64_t name = 0;            ///< position of its id in Plan::names
  std::uint32_t name_bytes = 0;      ///< length of its id
  std::uint32_t pause_ms = 0;        ///< the longest pause inside an answer
  capture::SideEnd answer_end = capture::SideEnd::none;
  bool answer_recorded = false;
};

static_assert(sizeof(Action) == 64 && sizeof(Answer) == 32 && sizeof(PlannedConnection) == 88,
              "the man page says so");

/// Everything that a replay sends. Its size grows with the capture: 64 bytes for each record of a
/// client, 32 for each record of an upstream (with answers), and 88 plus the id for each
/// connection, all in files without names. In memory are only the segments' names and, while the
/// plan is made, the connections that were alive at the same time.
struct Plan {
  std::vector<capture::SegmentFile> segments;
  MappedArray<Action> actions;
  MappedArray<Answer> answers;
  MappedArray<PlannedConnection> connections;  ///< ordered by `start_ns`
  MappedArray<char> names;
  // Of the connections that pass the filter:
  std::uint64_t without_beginning = 0;  ///< left out: the capture lacks their beginning
  std::uint64_t without_client = 0;     ///< left out: only the upstream's side was recorded
  std::uint64_t client_bytes = 0;
  std::uint64_t first_ns = 0;  ///< the earliest `start_ns`
  std::uint64_t last_ns = 0;   ///< time of the last record
  Gaps gaps;                   ///< times that the replay skips
  std::uint64_t damaged = 0;   ///< findings in the capture that report damage
  std::uint64_t lost = 0;      ///< connections that ended without being recorded
  bool interrupted = false;

  [[nodiscard]] std::string name_of(const PlannedConnection& connection) const {
    return {names.begin() + connection.name, connection.name_bytes};
  }
};

/// What a plan is made for.
struct Purpose {
  bool compare = false;                  ///< fills Plan::answers
  std::uint64_t longest_gap_ns = kNone;  ///< recorded time to which longer gaps are shortened
};

/// Reads the capture in `paths` once, and fills `plan`, which must be empty. The filter's times
/// apply to the beginnings of connections. Ends early after a signal, with `plan.interrupted` set.
[[nodiscard]] Result<> make_plan(const std::vector<std::string>& paths,
                                 const capture::Filter& filter, const Purpose& purpose, Plan& plan);

}  // namespace sluice::replay
