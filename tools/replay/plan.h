#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/capture_set.h"
#include "iolib/capture/filter.h"
#include "iolib/capture/format.h"
#include "tools/replay/mapped_array.h"

namespace sluice::replay {

/// No such element.
inline constexpr std::uint64_t kNone = ~std::uint64_t{0};

/// What a client did, in the order in which it was recorded. Times are nanoseconds of the
/// recording's wall clock, made of its monotonic one.
struct Action {
  enum class Kind : std::uint8_t {
    send,   ///< `bytes` at `position` of `segment`
    eof,    ///< the client's side ended in order
    reset,  ///< the client's side was cut
    gap,    ///< what comes next is not recorded
    close,  ///< the connection was over, both ways
    cut,    ///< the recording ends before the connection did
  };
  std::uint64_t next = kNone;  ///< of the same connection
  std::uint64_t at_ns = 0;
  std::uint64_t position = 0;        ///< in the file
  std::uint64_t answers_before = 0;  ///< how far the upstream's stream had come by then; gap: 0
  std::uint64_t then_ns = 0;         ///< ends_turn: until the first byte of the answer, then
  std::uint64_t sent_ns = 0;         ///< ends_turn: when it was sent in this replay
  std::uint32_t segment = 0;
  std::uint32_t bytes = 0;
  std::uint32_t answer_ms = 0;  ///< how long after the action before it more of the answer came
  Kind kind = Kind::send;
  bool ends_turn = false;    ///< the next record of the connection was of the answer
  bool answer_over = false;  ///< the answer had ended in order by then
};

/// A part of the recorded answer.
struct Answer {
  std::uint64_t next = kNone;
  std::uint64_t offset = 0;  ///< in the upstream's stream
  std::uint64_t position = 0;
  std::uint32_t segment = 0;
  std::uint32_t bytes = 0;
};

/// A connection that can be replayed from its beginning.
struct PlannedConnection {
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;         ///< of the last record
  std::uint64_t client_end_ns = 0;  ///< when the client's side was over
  std::uint64_t first_action = kNone;
  std::uint64_t first_answer = kNone;
  std::uint64_t client_bytes = 0;    ///< that are recorded, up to a gap
  std::uint64_t answer_bytes = 0;    ///< offset that the upstream's stream reached
  std::uint64_t answer_missing = 0;  ///< of them, not recorded
  std::uint64_t name = 0;            ///< its place in Plan::names ...
  std::uint32_t name_bytes = 0;      ///< ... and length
  capture::SideEnd answer_end = capture::SideEnd::none;
  bool answer_recorded = false;
};

static_assert(sizeof(Action) == 64 && sizeof(Answer) == 32 && sizeof(PlannedConnection) == 80,
              "the man page says so");

/// All that is to be replayed. Its size grows with the capture: 64 bytes for each record of the
/// client, 32 for each of the upstream (with answers), and 80 and its id for each connection, in
/// files without names. In memory are the segments' names, and the connections that were alive at
/// one time while it is made.
struct Plan {
  std::vector<capture::SegmentFile> segments;
  MappedArray<Action> actions;
  MappedArray<Answer> answers;
  MappedArray<PlannedConnection> connections;  ///< by their beginnings
  MappedArray<char> names;
  // Of the connections that pass the filter:
  std::uint64_t without_beginning = 0;  ///< left out: what they began with is not in the capture
  std::uint64_t without_client = 0;     ///< left out: only the upstream's side was recorded
  std::uint64_t client_bytes = 0;
  std::uint64_t first_ns = 0;  ///< the first beginning
  std::uint64_t last_ns = 0;   ///< the last record
  std::uint64_t damaged = 0;   ///< findings of the capture that are damage
  std::uint64_t lost = 0;      ///< connections that ended unrecorded
  bool interrupted = false;

  [[nodiscard]] std::string name_of(const PlannedConnection& connection) const {
    return {names.begin() + connection.name, connection.name_bytes};
  }
};

/// Reads the capture in `paths` once. Connections are taken by the filter, whose times are those of
/// their beginnings. `with_answers`: Plan::answers is wanted too. Ends early, `interrupted`, at a
/// signal.
[[nodiscard]] Result<> make_plan(const std::vector<std::string>& paths,
                                 const capture::Filter& filter, bool with_answers, Plan& plan);

}  // namespace sluice::replay
