#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/base/send_queue.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/connector.h"
#include "iolib/reactor/reactor.h"
#include "tools/common/endpoint.h"
#include "tools/replay/comparison.h"
#include "tools/replay/mismatch.h"
#include "tools/replay/patterns.h"
#include "tools/replay/plan.h"
#include "tools/replay/schedule.h"
#include "tools/replay/segment_files.h"
#include "tools/replay/tally.h"
#include "tools/replay/turns.h"

namespace sluice::replay {

/// How connections are replayed.
struct Settings {
  std::vector<Endpoint> to;  ///< addresses of the target, at least one
  bool wait_responses = false;
  bool compare = false;
  std::chrono::nanoseconds response_timeout{};
  std::vector<Ignored> ignored = {};  ///< in order, without overlap
  Patterns patterns = {};             ///< their matches are not compared
};

/// What the connections of a replay share; all borrowed.
struct Stage {
  Reactor& reactor;
  Plan& plan;
  SegmentFiles& files;
  const Settings& settings;
  Tally& tally;
  std::size_t& address;  ///< index into Settings::to of the address that connected last
};

/// One connection to the target. It repeats what the recorded client did.
class Connection {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// The client's side has ended in order. The answer may continue.
    virtual void client_ended(Connection& connection) = 0;
    /// The connection is over. It may be destroyed after this call has returned to the reactor.
    virtual void ended(Connection& connection) = 0;
  };

  /// Replays the plan's connection with this index. Borrows `stage`, `schedule` and `owner`.
  Connection(const Stage& stage, const Schedule& schedule, std::uint64_t index, Owner& owner);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  /// Ends the connection with a reset.
  void interrupt();
  [[nodiscard]] const PlannedConnection& planned() const { return stage_.plan.connections[index_]; }

 private:
  enum class State : std::uint8_t {
    connecting,
    running,
    broken,    ///< the server takes no more; what it sent before is still read
    flushing,  ///< the connection is reset once everything sent has been acknowledged
    draining,  ///< waits for the end of the answer
    closing,   ///< waits until nothing is in flight
  };
  enum class How : std::uint8_t { in_order, by_reset };
  /// What an answer that is waited for does.
  enum class Answering : std::uint8_t {
    not_begun,  ///< nothing has come since the last action
    begun,
    silent,  ///< nothing more has come for so long that it counts as complete
  };

  void became_writable(const Completion& completion);
  void received(const Completion& completion);
  void came_due();
  void limit_passed();

  void connect();
  void connect_ended(Result<Connected> connected);
  /// Tries the next address, if one is left.
  void connect_failed(const Error& error);
  [[nodiscard]] const Endpoint& target() const;
  void proceed();
  /// Performs the action. Returns false if nothing more can be done now.
  [[nodiscard]] bool act(Action& action, TimePoint now);
  [[nodiscard]] bool send(Action& action, TimePoint now);
  void broke();
  void flush_then_reset();
  void finish_when_answered();
  void await_end();
  void complete(How how);
  void do_without_answer(const Action& action);
  void wait_for_answer();
  /// Restarts the time limit for the next part of the answer, or its end.
  void give_time_to_answer();
  [[nodiscard]] std::chrono::nanoseconds longest_silence() const;
  void answered(const Completion& completion);
  [[nodiscard]] bool can_go_on() const;
  void out_of_time();
  void fail(const std::string& why, How how);
  void finish(How how);
  void close_when_idle();
  void compare_ends();
  [[nodiscard]] AnswerState answer_state() const;
  /// The kind of the current or next action.
  [[nodiscard]] Action::Kind current_kind() const;
  void set_limit(std::chrono::nanoseconds time);

  const Stage& stage_;
  const Schedule& schedule_;
  const std::uint64_t index_;
  Owner& owner_;
  std::optional<CallingConnector<&Connection::connect_ended>> connector_;  // while it connects
  std::size_t address_;    // index into Settings::to
  std::size_t tried_ = 0;  // addresses, in vain
  OwnedFd fd_;
  State state_ = State::connecting;
  How how_ = How::in_order;
  capture::SideEnd answer_end_ = capture::SideEnd::none;
  bool client_ended_ = false;  // in order
  bool cut_at_gap_ = false;
  bool lag_noted_ = false;         // of the current action
  bool limit_is_silence_ = false;  // the limit is how long the server may be silent
  Answering answering_now_ = Answering::not_begun;
  std::uint64_t action_;          // the current or next one
  std::uint32_t part_bytes_ = 0;  // bytes of it that were sent
  std::uint64_t received_bytes_ = 0;
  std::uint64_t forgiven_bytes_ = 0;  // bytes waited for in vain
  SendQueueWatch send_queue_;         // watched before a reset
  Turns turns_;
  std::chrono::milliseconds answering_{};  // recorded time of the answers up to the current action
  std::optional<Comparison> check_;
  TimePoint began_;
  CallingOperation<&Connection::became_writable> writable_{*this};
  CallingOperation<&Connection::received> receive_{*this};
  CallingTimer<&Connection::came_due> due_{*this};
  CallingTimer<&Connection::limit_passed> limit_{*this};
};

}  // namespace sluice::replay
