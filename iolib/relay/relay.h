#pragma once

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/owned_fd.h"
#include "iolib/base/send_queue.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/end_reason.h"
#include "iolib/relay/leg.h"
#include "iolib/relay/pump.h"

namespace sluice {

/// When a direction is spliced.
enum class SpliceMode : std::uint8_t { automatic, always, never };

/// How a relay behaves. Shared by many relays, which borrow it.
struct RelayOptions {
  SpliceMode splice = SpliceMode::automatic;
  Duration idle_timeout = std::chrono::hours(1);  ///< no byte either way; 0: never
  Duration half_close_timeout =
      std::chrono::seconds(30);  ///< no byte the way that is left; 0: never
  /// The client's FIN is a promise: its socket was made to reset however it is closed, but for an
  /// end in order.
  bool fin_confirms = false;
};

/// What the relays of one thread use together.
struct RelayContext {
  RelayContext(Reactor& its_reactor, PipePool& its_pool) : reactor(its_reactor), pool(its_pool) {}

  Reactor& reactor;
  PipePool& pool;
  /// Told of each time that no pipe was to be had, and copying has to do.
  std::function<void(PipeShortage)> on_shortage = {};
  /// Tees go through this pipe, which is empty between turns; taken at the first tee.
  PipeLease tap_pipe = {};
  /// Directions whose taps promise nothing receive into this, within a turn; taken at the first.
  std::vector<std::byte> receive_buffer = {};
  /// Asked when a relay streams heavily: the number of the thread that it had better go on with,
  /// for the caller of run() to carry out, or a negative one to stay. Unset: it stays.
  std::function<int()> choose_thread = {};
  /// The context of the thread of that number.
  std::function<RelayContext&(int thread)> of_thread = {};
  /// Relays that stream heavily now, here or on their way, for other threads to compare.
  std::atomic<std::uint32_t> streams{0};
  /// Spliced turns so far, of all directions.
  std::uint32_t spliced_turns = 0;
  /// After a shortage nobody asks for a pipe before this: each try costs system calls.
  TimePoint no_pipes_until = {};

  static constexpr Duration kShortagePause = std::chrono::milliseconds(100);
};

/// Relays one connection both ways until both directions have ended, and ends both sockets as the
/// connection ended: in order after an orderly end, with a reset after a reset.
///
/// Belongs to its reactor's thread. Owns both sockets. Must not be destroyed between start() and
/// the end of run().
class Relay final : private Timer, private Deferral {
 public:
  /// A reset is passed on when all that was received before it has been acknowledged, or after this
  /// time: long enough for a slow reader to catch up with a full send queue, short enough that dead
  /// connections do not pile up.
  static constexpr Duration kResetFlushTimeout = std::chrono::seconds(10);
  /// A socket from which nothing is read for this long gets an error watch: soon enough that a
  /// reset is noticed at once for all purposes, late enough that short pauses and short connections
  /// cost none.
  static constexpr Duration kWatchAfter = std::chrono::milliseconds(5);

  /// `upstream` may be a device, which only takes, or none at all: the client's bytes then go back
  /// to the client.
  Relay(RelayContext& context, const RelayOptions& options, OwnedFd client, Leg::Kind client_kind,
        OwnedFd upstream, Leg::Kind upstream_kind);
  ~Relay() override;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// The two directions, for taps and counters.
  [[nodiscard]] Pump& to_upstream() { return to_upstream_; }
  [[nodiscard]] Pump& to_client() { return to_client_; }

  /// Relays until the end, which it returns; both sockets are closed then. `held` are bytes already
  /// received from the client. Returns EndReason::none when the relay rests in order to move to
  /// another thread: the caller moves itself, calls move_to(), and then run() again, there.
  class Run;
  [[nodiscard]] Run run(std::span<const std::byte> held = {});
  /// Where to move, after run() returned EndReason::none.
  [[nodiscard]] int destination() const { return destination_; }
  /// Goes on with another thread's context. On that thread, while the relay rests.
  void move_to(RelayContext& context);
  /// Ends both directions now, with a reset both ways.
  void stop(EndReason why);

  /// Forwarded bytes that the far end never acknowledged before a reset. After run().
  [[nodiscard]] std::uint64_t unacknowledged_bytes() const { return unacknowledged_bytes_; }

 private:
  friend class Leg;
  friend class Pump;

  // From the legs and pumps.
  void leg_reset(Leg& leg);
  void leg_unwatched() { check_joined(); }
  void pass_on_end(Leg& target);
  void pump_ended();
  void count_streams();
  [[nodiscard]] bool begin_move();
  /// A direction reads nothing for the time being.
  void pump_paused(const Pump& pump);

  void begin(std::span<const std::byte> held);
  void count_in(RelayContext* context);
  void expired() override;
  void deferred() override { try_finish_run(); }
  void arm(TimePoint deadline);
  [[nodiscard]] TimePoint check_timeouts(TimePoint now);
  [[nodiscard]] bool drains(TimePoint active, TimePoint now);
  [[nodiscard]] bool pumps_ended() const;
  [[nodiscard]] bool joined() const;
  [[nodiscard]] bool can_finish_run() const { return waiter_ && joined(); }
  [[nodiscard]] bool moving() const { return destination_ >= 0; }
  void check_joined();
  void end_as(EndReason end);
  bool try_finish_run();
  void finish_run();
  [[nodiscard]] bool flushed(Leg& leg);
  void watch_quiet_legs();
  void close();

  RelayContext* context_;
  RelayContext* counted_in_ = nullptr;  ///< whose streams it is among
  const RelayOptions& options_;
  Leg client_;
  Leg upstream_;
  Pump to_upstream_;
  Pump to_client_;
  std::coroutine_handle<> waiter_;
  TimePoint first_end_ = TimePoint::max();       ///< when the first direction ended
  TimePoint reset_deadline_ = TimePoint::max();  ///< of passing on a reset
  TimePoint drained_at_ = TimePoint::min();      ///< when the send queues were seen to shrink
  SendQueueWatch send_queues_;
  std::uint64_t unacknowledged_bytes_ = 0;
  EndReason end_ = EndReason::none;
  bool two_way_;
  bool moved_ = false;  ///< once is enough
  std::int16_t destination_ = -1;
};

/// See Relay::run. A plain awaitable, not a coroutine: its frame would be a fifth of what an idle
/// connection costs.
class Relay::Run {
 public:
  Run(Relay& relay, std::span<const std::byte> held) : relay_(relay), held_(held) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    relay_.waiter_ = waiter;
    relay_.begin(held_);
  }
  [[nodiscard]] EndReason await_resume() const noexcept {
    return relay_.moving() ? EndReason::none : relay_.end_;
  }

 private:
  Relay& relay_;
  std::span<const std::byte> held_;
};
inline Relay::Run Relay::run(std::span<const std::byte> held) { return {*this, held}; }

}  // namespace sluice
