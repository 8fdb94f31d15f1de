#include "tools/replay/plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "tools/common/connections.h"
#include "tools/common/interrupt.h"
#include "tools/common/walk.h"

namespace sluice::replay {
namespace {

using capture::At;
using capture::Event;
using capture::Kind;
using capture::RecordHeader;
using capture::Side;
using capture::SideEnd;

/// Maps the monotonic clocks of several runs to one time line. The clocks are unrelated, so each is
/// anchored at the wall-clock time of the first record that was read of its run.
class Timeline {
 public:
  void look_at(const std::string& run, const RecordHeader& header) {
    if (run_ && *run_ == run) return;
    run_ = run;
    const Base base{header.monotonic_ns, header.wall_ns, bases_.size()};
    base_ = bases_.try_emplace(run, base).first->second;
  }
  /// The number of the current run.
  [[nodiscard]] std::size_t run() const { return base_.number; }
  [[nodiscard]] std::uint64_t at(std::uint64_t monotonic_ns) const {
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    // The capture's numbers are untrusted, so this saturates instead of overflowing.
    const std::uint64_t wall = std::min<std::uint64_t>(base_.wall_ns, kMost);
    if (monotonic_ns < base_.monotonic_ns) {
      return wall - std::min(wall, base_.monotonic_ns - monotonic_ns);
    }
    return wall + std::min(kMost - wall, monotonic_ns - base_.monotonic_ns);
  }

 private:
  struct Base {
    std::uint64_t monotonic_ns = 0;
    std::uint64_t wall_ns = 0;
    std::size_t number = 0;
  };
  std::map<std::string, Base, std::less<>> bases_;
  std::optional<std::string> run_;
  Base base_;
};

/// The difference, rounded up and limited to 2^32 - 1 ms, which is seven weeks.
std::uint32_t milliseconds_between(std::uint64_t from_ns, std::uint64_t to_ns) {
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  const std::uint64_t ns = to_ns - std::min(to_ns, from_ns);
  const std::uint64_t ms = ns / kNsPerMs + (ns % kNsPerMs == 0 ? 0 : 1);
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(ms, std::numeric_limits<std::uint32_t>::max()));
}

class Planner {
 public:
  Planner(const capture::Filter& filter, const Purpose& purpose, Plan& plan)
      : filter_(filter),
        with_answers_(purpose.compare),
        plan_(plan),
        activity_(purpose.longest_gap_ns) {}

  Result<bool> take(const Event& event, const At& at) {
    if (interrupted()) {
      plan_.interrupted = true;
      return capture::go_on(false);
    }
    if (at.chain_index != chain_index_) {
      if (const Result<> ended = end_chain(); !ended) return ended.error();
      chain_index_ = at.chain_index;
    }
    if (event.type == Event::Type::segment) plan_.segments.push_back(*event.segment);
    note(event);
    const Result<capture::Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    capture::Connection* connection = *taken;
    if (connection == nullptr) return capture::go_on();
    if (event.type == Event::Type::record) timeline_.look_at(at.chain.run, event.header);
    Result<> done = follow(event, *connection);
    if (!done) return done.error();
    if (connection->closed) {
      live_.erase(connection->number);
      table_.forget(*connection, at);
    }
    return capture::go_on();
  }

  Result<> finish() {
    if (const Result<> ended = end_chain(); !ended) return ended;
    std::sort(plan_.connections.begin(), plan_.connections.end(),
              [](const PlannedConnection& a, const PlannedConnection& b) {
                return std::pair(a.start_ns, a.name) < std::pair(b.start_ns, b.name);
              });
    if (plan_.connections.size() > 0) plan_.first_ns = plan_.connections[0].start_ns;
    plan_.gaps = activity_.gaps();
    return {};
  }

 private:
  /// A connection whose end has not been read yet.
  struct Live {
    std::uint64_t planned = kNone;  ///< kNone: the connection is left out
    std::uint64_t last_action = kNone;
    std::uint64_t last_answer = kNone;
    std::uint64_t unanswered = kNone;  ///< the last send, if no answer has come since
    std::uint64_t answers = 0;         ///< offset that the upstream's stream has reached
    std::uint64_t acted_ns = 0;        ///< time of the last action, or of the beginning
    std::uint64_t answered_ns = 0;     ///< when the last part of the answer, or its end, came
    bool answering = false;            ///< part of an answer has come since the last send
    std::uint64_t last_ns = 0;
    bool begun = false;         ///< its first record has been read
    bool client_ended = false;  ///< the client sends no more
    bool client_over = false;   ///< no action can follow
  };

  void note(const Event& event) {
    if (event.type == Event::Type::finding) {
      plan_.damaged += event.finding.severity == capture::Finding::Severity::damage ? 1 : 0;
    } else if (event.type == Event::Type::record && event.header.is(Kind::lost)) {
      plan_.lost += capture::decode_lost(event.payload).value_or(0);
    }
  }

  Result<> follow(const Event& event, const capture::Connection& connection) {
    Live& live = live_[connection.number];
    if (event.type == Event::Type::record && !std::exchange(live.begun, true)) {
      if (const Result<> begun = begin(event, connection, live); !begun) return begun;
    }
    if (live.planned == kNone) return {};
    if (event.type == Event::Type::finding) {
      const capture::Finding& lost = event.finding;
      return lost.side == Side::client ? act(Action::Kind::gap, live.last_ns, live)
                                       : miss(lost.stream_offset + lost.bytes, lost.bytes, live);
    }
    const std::uint64_t at_ns = timeline_.at(event.header.monotonic_ns);
    live.last_ns = std::max(live.last_ns, at_ns);
    plan_.connections[live.planned].end_ns = live.last_ns;
    plan_.last_ns = std::max(plan_.last_ns, live.last_ns);
    if (const Result<> noted = activity_.note(timeline_.run(), at_ns); !noted) return noted;
    return event.header.side() == Side::client || event.header.is(Kind::close)
               ? follow_client(event, at_ns, live)
               : follow_upstream(event, at_ns, live);
  }

  Result<> begin(const Event& event, const capture::Connection& connection, Live& live) {
    const RecordHeader& header = event.header;
    const bool introduced = connection.introduced;
    const std::uint64_t began_wall = introduced ? connection.info.began_wall_ns : header.wall_ns;
    if (!filter_.takes(connection.info) || !filter_.takes_time(began_wall)) return {};
    // For other connections, the first record may not be their beginning.
    bool whole = introduced;
    for (const capture::SideState& side : connection.info.so_far) {
      whole = whole && (!header.continued() || (side.offset == 0 && side.ended == SideEnd::none));
    }
    if (!whole) {
      ++plan_.without_beginning;
      return {};
    }
    if ((connection.info.sides & 1U) == 0) {
      ++plan_.without_client;
      return {};
    }
    PlannedConnection planned;
    planned.start_ns = timeline_.at(connection.info.began_monotonic_ns);
    const Result<> noted = activity_.note(timeline_.run(), planned.start_ns);
    if (!noted) return noted;
    planned.end_ns = live.last_ns = live.acted_ns = planned.start_ns;
    planned.answer_recorded = (connection.info.sides & 2U) != 0;
    planned.name = plan_.names.size();
    planned.name_bytes = static_cast<std::uint32_t>(connection.info.id.size());
    for (const char c : connection.info.id) {
      if (const Result<> added = plan_.names.push_back(c); !added) return added;
    }
    live.planned = plan_.connections.size();
    return plan_.connections.push_back(planned);
  }

  Result<> follow_client(const Event& event, std::uint64_t at_ns, Live& live) {
    switch (static_cast<Kind>(event.header.kind)) {
      case Kind::data:
        return send(event, at_ns, live);
      case Kind::eof:
        return act(Action::Kind::eof, at_ns, live);
      case Kind::reset:
        return act(Action::Kind::reset, at_ns, live);
      case Kind::gap:
        return act(Action::Kind::gap, at_ns, live);
      case Kind::close:
        return act(Action::Kind::close, at_ns, live);
      default:
        return {};
    }
  }

  Result<> follow_upstream(const Event& event, std::uint64_t at_ns, Live& live) {
    PlannedConnection& planned = plan_.connections[live.planned];
    const std::uint64_t before_ns = std::exchange(live.answered_ns, at_ns);
    switch (static_cast<Kind>(event.header.kind)) {
      case Kind::data:
        if (std::exchange(live.answering, true)) {
          planned.pause_ms = std::max(planned.pause_ms, milliseconds_between(before_ns, at_ns));
        }
        return answer(event, at_ns, live);
      case Kind::eof:
        planned.answer_end = SideEnd::eof;
        return {};
      case Kind::reset:
        planned.answer_end = SideEnd::reset;
        return {};
      case Kind::gap: {
        const std::uint64_t bytes =
            capture::decode_gap(event.payload)->bytes - event.effect.skip_bytes;
        return miss(event.fresh_offset() + bytes, bytes, live);
      }
      default:
        return {};
    }
  }

  Result<> send(const Event& event, std::uint64_t at_ns, Live& live) {
    const std::uint64_t bytes = event.fresh().size();
    if (live.client_over || live.client_ended || bytes == 0) return {};
    Action action;
    action.at_ns = at_ns;
    action.position = event.position + capture::kRecordHeaderBytes + event.effect.skip_bytes;
    action.segment = static_cast<std::uint32_t>(plan_.segments.size() - 1);
    action.bytes = static_cast<std::uint32_t>(bytes);
    live.unanswered = plan_.actions.size();
    live.answering = false;
    plan_.connections[live.planned].client_bytes += bytes;
    plan_.client_bytes += bytes;
    return append(action, live);
  }

  Result<> act(Action::Kind kind, std::uint64_t at_ns, Live& live) {
    if (live.client_over) return {};
    Action action;
    action.kind = kind;
    action.at_ns = at_ns;
    if (!live.client_ended) plan_.connections[live.planned].client_end_ns = at_ns;
    // After an orderly end of the client's side, the answer can still continue.
    live.client_over = kind != Action::Kind::eof;
    live.client_ended = true;
    return append(action, live);
  }

  Result<> append(Action action, Live& live) {
    // A gap waits for no answer, because the answers so far may be to requests that are lost.
    if (action.kind != Action::Kind::gap) action.answers_before = live.answers;
    const PlannedConnection& planned = plan_.connections[live.planned];
    action.answer_over = planned.answer_end == SideEnd::eof;
    // An unrecorded answer may have come at any time up to now.
    const std::uint64_t answered_ns = planned.answer_recorded ? live.answered_ns : action.at_ns;
    action.answer_ms = milliseconds_between(live.acted_ns, answered_ns);
    live.acted_ns = std::max(live.acted_ns, action.at_ns);
    const std::uint64_t index = plan_.actions.size();
    if (const Result<> added = plan_.actions.push_back(action); !added) return added;
    std::uint64_t& link = live.last_action == kNone ? plan_.connections[live.planned].first_action
                                                    : plan_.actions[live.last_action].next;
    link = live.last_action = index;
    return {};
  }

  Result<> answer(const Event& event, std::uint64_t at_ns, Live& live) {
    const std::uint64_t bytes = event.fresh().size();
    if (bytes == 0) return {};
    if (live.unanswered != kNone) {
      Action& asked = plan_.actions[std::exchange(live.unanswered, kNone)];
      asked.ends_turn = true;
      asked.then_ns = at_ns - std::min(at_ns, asked.at_ns);
    }
    Answer part;
    part.offset = event.fresh_offset();
    live.answers = part.offset + bytes;
    plan_.connections[live.planned].answer_bytes = live.answers;
    if (!with_answers_) return {};
    part.position = event.position + capture::kRecordHeaderBytes + event.effect.skip_bytes;
    part.segment = static_cast<std::uint32_t>(plan_.segments.size() - 1);
    part.bytes = static_cast<std::uint32_t>(bytes);
    const std::uint64_t index = plan_.answers.size();
    if (const Result<> added = plan_.answers.push_back(part); !added) return added;
    std::uint64_t& link = live.last_answer == kNone ? plan_.connections[live.planned].first_answer
                                                    : plan_.answers[live.last_answer].next;
    link = live.last_answer = index;
    return {};
  }

  Result<> miss(std::uint64_t reached, std::uint64_t bytes, Live& live) {
    live.answers = reached;
    live.unanswered = kNone;
    plan_.connections[live.planned].answer_bytes = reached;
    plan_.connections[live.planned].answer_missing += bytes;
    return {};
  }

  /// The chain ends here, so the recordings of the live connections end too.
  Result<> end_chain() {
    for (auto& [number, live] : live_) {
      if (live.planned == kNone) continue;
      if (const Result<> ended = act(Action::Kind::cut, live.last_ns, live); !ended) return ended;
    }
    live_.clear();
    return {};
  }

  const capture::Filter& filter_;
  const bool with_answers_;
  Plan& plan_;
  capture::ConnectionTable table_{capture::ConnectionTable::Keeps::chain};
  std::size_t chain_index_ = 0;
  std::unordered_map<std::uint64_t, Live> live_;  // by connection number
  Timeline timeline_;
  Activity activity_;
};

}  // namespace

Result<> make_plan(const std::vector<std::string>& paths, const capture::Filter& filter,
                   const Purpose& purpose, Plan& plan) {
  Planner planner(filter, purpose, plan);
  const Result<> walked = capture::walk(
      paths, [&](const Event& event, const At& at) { return planner.take(event, at); });
  return walked ? planner.finish() : walked;
}

}  // namespace sluice::replay
