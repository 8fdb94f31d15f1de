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
#include "iolib/relay/traffic.h"

namespace sluice {

/// When a direction is spliced.
enum class SpliceMode : std::uint8_t { automatic, always, never };

/// How a relay behaves. Many relays share and borrow it.
struct RelayOptions {
  SpliceMode splice = SpliceMode::automatic;
  Duration idle_timeout = std::chrono::hours(1);  ///< no byte in either direction; 0: never
  Duration half_close_timeout =
      std::chrono::seconds(30);  ///< no byte in the remaining direction; 0: never
  /// Set if the client's FIN is a promise. The client's socket then resets on every close, unless
  /// the relay ends it in order.
  bool fin_confirms = false;
  /// Where the relays count what they move: one element for each thread. Borrowed; may be null.
  Traffic* traffic = nullptr;
};

/// What the relays of one thread share. Belongs to that thread, except `streams`.
struct RelayContext {
  RelayContext(Reactor& its_reactor, PipePool& its_pool) : reactor(its_reactor), pool(its_pool) {}

  Reactor& reactor;
  PipePool& pool;
  std::size_t thread = 0;  ///< the thread's number, for RelayOptions::traffic
  /// Called each time that no pipe is available and a direction copies instead.
  std::function<void(PipeShortage)> on_shortage = {};
  /// The pipe for tees; empty between turns. Taken at the first tee.
  PipeLease tap_pipe = {};
  /// The buffer for receives that begin and end within a turn, for taps whose allowance does not
  /// stand. Allocated at the first.
  std::vector<std::byte> receive_buffer = {};
  /// Called when a relay streams heavily. Returns the number of the thread that the relay should
  /// move to, or a negative number to stay. The caller of run() carries out the move. If unset,
  /// relays stay.
  std::function<int()> choose_thread = {};
  /// Returns the context of a thread.
  std::function<RelayContext&(int thread)> of_thread = {};
  /// Relays that stream heavily on this thread, or are moving to it. Other threads read it.
  std::atomic<std::uint32_t> streams{0};
  /// Spliced turns so far, in all directions.
  std::uint32_t spliced_turns = 0;
  /// After a shortage, no direction asks for a pipe before this time, because each try costs system
  /// calls.
  TimePoint no_pipes_until = {};

  static constexpr Duration kShortagePause = std::chrono::milliseconds(100);
};

/// Relays one connection both ways until both directions have ended. Then it ends both sockets as
/// the connection ended: in order after an orderly end, with a reset after a reset.
///
/// Belongs to its reactor's thread. Owns both sockets. Must not be destroyed while run() is
/// awaited.
class Relay final : private Timer, private Deferral {
 public:
  /// A reset is passed on when all bytes received before it are acknowledged, or after this time.
  /// It is long enough for a slow reader to drain a full send queue, and short enough that dead
  /// connections do not accumulate.
  static constexpr Duration kResetFlushTimeout = std::chrono::seconds(10);
  /// A socket from which nothing is read for this long gets an error watch. This is early enough
  /// that a reset is noticed without a delay that matters, and late enough that short pauses and
  /// short connections need no watch.
  static constexpr Duration kWatchAfter = std::chrono::milliseconds(5);

  /// `upstream` may be a device, which only takes bytes. It may also be empty: the client's bytes
  /// then go back to the client. `options` is borrowed.
  Relay(RelayContext& context, const RelayOptions& options, OwnedFd client, Leg::Kind client_kind,
        OwnedFd upstream, Leg::Kind upstream_kind);
  ~Relay() override;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// The two directions, for taps and counters.
  [[nodiscard]] Pump& to_upstream() { return to_upstream_; }
  [[nodiscard]] Pump& to_client() { return to_client_; }
  [[nodiscard]] const Pump& to_upstream() const { return to_upstream_; }
  [[nodiscard]] const Pump& to_client() const { return to_client_; }

  /// `co_await run()`: relays until the end and returns its reason; both sockets are then closed.
  /// `held` are bytes already received from the client. EndReason::none means that the relay rests
  /// and wants to move to another thread. The caller then moves itself there, calls move_to(), and
  /// calls run() again.
  class Run;
  [[nodiscard]] Run run(std::span<const std::byte> held = {});
  /// The thread to move to, after run() returned EndReason::none.
  [[nodiscard]] int destination() const { return destination_; }
  /// Gives the relay another thread's context. Call it on that thread, while the relay rests.
  void move_to(RelayContext& context);
  /// Ends both directions now, with a reset both ways. The reason is `why`, if there is none yet.
  void stop(EndReason why);

  /// The forwarded bytes that the far end had not acknowledged when a reset was passed on. Valid
  /// after run().
  [[nodiscard]] std::uint64_t unacknowledged_bytes() const { return unacknowledged_bytes_; }

 private:
  friend class Leg;
  friend class Pump;

  // Called by the legs and pumps.
  void leg_reset(Leg& leg);
  void leg_unwatched() { check_joined(); }
  void pass_on_end(Leg& target);
  void pump_ended();
  void count_streams();
  [[nodiscard]] bool begin_move();
  /// `pump` reads nothing now.
  void pump_paused(const Pump& pump);
  /// `pump` has forwarded bytes, some of them spliced.
  void count(const Pump& pump, std::size_t bytes, std::size_t spliced_bytes) {
    if (options_.traffic == nullptr) return;
    Traffic& traffic = options_.traffic[context_->thread];
    Moved& moved = &pump == &to_upstream_ ? traffic.to_upstream : traffic.to_client;
    moved.forwarded_bytes.add(bytes);
    if (spliced_bytes > 0) moved.spliced_bytes.add(spliced_bytes);
  }

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
  RelayContext* counted_in_ = nullptr;  ///< the context whose `streams` counts this relay, or null
  const RelayOptions& options_;
  Leg client_;
  Leg upstream_;
  Pump to_upstream_;
  Pump to_client_;
  std::coroutine_handle<> waiter_;
  TimePoint first_end_ = TimePoint::max();       ///< when the first direction ended
  TimePoint reset_deadline_ = TimePoint::max();  ///< for passing on a reset
  TimePoint drained_at_ = TimePoint::min();      ///< when the send queues last shrank
  SendQueueWatch send_queues_;
  std::uint64_t unacknowledged_bytes_ = 0;
  EndReason end_ = EndReason::none;
  bool two_way_;
  bool moved_ = false;  ///< a relay moves at most once
  std::int16_t destination_ = -1;
};

/// See Relay::run. A plain awaitable, not a coroutine: a coroutine's frame would be a fifth of the
/// memory of an idle connection.
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
