#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "iolib/balance/bandwidth.h"
#include "iolib/base/byte_queue.h"
#include "iolib/base/clock.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/pipe/splice.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/promotion.h"
#include "iolib/relay/tap_set.h"

namespace sluice {

class Leg;
class Relay;

/// Moves one direction's bytes from one leg to another. It copies or splices, as the traffic
/// suggests. It belongs to a Relay and runs on the relay's thread.
///
/// Each completion from the reactor starts one bounded turn: one receive and one send, or one large
/// splice in and one out. The send goes out with the turn, and the next receive directly after it.
/// Between turns, at most one more request is in flight, and the pump holds at most one pipe, or
/// kMaxHeldBytes on the heap. While it holds bytes, it reads nothing new. One exception: copied
/// bytes that wait only for a tap's watermark may grow to kMaxGatedBytes, so that many receives
/// share what makes the watermark rise.
class Pump final : private Operation, private Sender {
 public:
  /// The most bytes that a direction holds on the heap: what one receive could not send, or what is
  /// taken out of a paused pipe to return the pipe to the pool.
  static constexpr std::size_t kMaxHeldBytes = 64 << 10;
  /// The most bytes that it holds for a tap's watermark alone: a durable write takes as long as ten
  /// receives or more. With 64 KiB, 256 KiB and 1 MiB, a stream reached 0.3, 0.7 and 1.0 of the
  /// rate with 512 KiB (tests/perf/RESULTS.md, "Recording").
  static constexpr std::size_t kMaxGatedBytes = 512 << 10;
  /// How long a pipe with at most kMaxHeldBytes in it may be paused before its bytes move to the
  /// heap.
  static constexpr Duration kPipePause = std::chrono::milliseconds(100);

  /// How long a tap that sees bytes after they were forwarded waits for them at most, if no other
  /// event makes a turn begin. An answer mostly comes sooner.
  static constexpr Duration kLongestOwed = std::chrono::milliseconds(1);

  enum class End : std::uint8_t {
    none,
    eof,    ///< in order: all bytes were forwarded, and the FIN was passed on
    reset,  ///< the source was reset; all received bytes were forwarded
    cut,    ///< the bytes that it held are lost
  };

  Pump(Relay& relay, Leg& source, Leg& target);
  ~Pump() override;

  /// Limits the bandwidth of the direction: it reads only what `throttle` lets it, and waits while
  /// that is nothing. Null: no limit. Call it before start().
  void limit(std::unique_ptr<balance::Throttle> throttle) { throttle_ = std::move(throttle); }
  /// Starts the direction. `held` (at most kMaxHeldBytes) are the first bytes of the stream, which
  /// the caller has already received. After a pause, resumes the direction.
  void start(std::span<const std::byte> held = {});
  /// Ends the direction as soon as nothing is in flight. Bytes that it holds are lost.
  void cut();

  /// Pauses the direction as soon as nothing is in flight; it keeps the bytes that it holds.
  /// start() resumes it.
  void pause();
  [[nodiscard]] bool paused() const { return phase_ == Phase::paused; }

  /// Whether the direction may move to another thread. Pipes and taps belong to their thread.
  [[nodiscard]] bool may_move() const { return !pipe_ && !tapped(); }

  /// Attaches a tap, which sees the bytes received from now on. A receive that is in flight and can
  /// no longer be cancelled may bring up to Reactor::kReceiveBytes before the tap's allowance is
  /// asked for.
  void attach(Tap& tap);
  void detach(Tap& tap);
  /// Reports to the taps that no more bytes will come.
  void close_taps();
  /// A tap calls this when it can take bytes again, or when its watermark rose.
  void wake();

  /// Does what the relay's timer is for: ends the wait for bandwidth, and that of a patient stream
  /// that is silent, and frees a pipe that has been paused for long with few bytes in it. Returns
  /// when to call it again, or TimePoint::max().
  [[nodiscard]] TimePoint tidy(TimePoint now);

  [[nodiscard]] bool ended() const { return phase_ == Phase::ended; }
  [[nodiscard]] End end() const { return ended() ? end_ : End::none; }
  [[nodiscard]] const Leg& source() const { return source_; }
  [[nodiscard]] const Leg& target() const { return target_; }
  /// When bytes were last received or forwarded, or a wait for a tap or for bandwidth ended.
  [[nodiscard]] TimePoint last_activity() const { return last_activity_; }
  [[nodiscard]] std::uint64_t received_bytes() const { return received_bytes_; }
  [[nodiscard]] std::uint64_t forwarded_bytes() const { return forwarded_bytes_; }
  /// The forwarded bytes that were never in user space.
  [[nodiscard]] std::uint64_t spliced_bytes() const { return spliced_bytes_; }
  /// Whether the direction reads nothing now: it has ended, or waits for its target, a tap or
  /// bandwidth.
  [[nodiscard]] bool quiet() const {
    return ended() || wait_ == Wait::writable || wait_ == Wait::allowance;
  }
  /// Whether the socket that the direction waits for is ready, but the loop has not handled it yet.
  [[nodiscard]] bool is_ready() const;
  /// Whether a tap or the limit on bandwidth delays the direction: some of its bytes, or all.
  [[nodiscard]] bool gated() const {
    return wait_ == Wait::allowance || (wait_ != Wait::writable && !held_.empty());
  }
  [[nodiscard]] bool streaming() const { return promotion_.streaming(); }
  /// See Promotion.
  [[nodiscard]] bool heavy() const { return promotion_.heavy(); }
  [[nodiscard]] bool holds_pipe() const { return static_cast<bool>(pipe_); }
  [[nodiscard]] std::size_t held_bytes() const;
  [[nodiscard]] bool tapped() const { return taps_ != nullptr; }
  /// How many taps are attached.
  [[nodiscard]] std::size_t taps() const { return taps_ ? taps_->size() : 0; }

 private:
  enum class Wait : std::uint8_t {
    nothing,
    receive,
    readable,
    writable,
    allowance,  ///< until a tap takes bytes, or lets them go, or until bandwidth is left
  };
  enum class Phase : std::uint8_t {
    running,
    pausing,  ///< becomes paused as soon as nothing is in flight
    paused,   ///< rests until start()
    ended,
  };

  void complete(const Completion& completion) override;
  void sent(int result, std::span<const std::byte> data) override;
  void advance();
  [[nodiscard]] bool may_read() const;
  void wait_for_source();
  [[nodiscard]] bool may_gather() const;
  void finish();
  void leave_wait();
  [[nodiscard]] bool is_cut() const { return end_ == End::cut; }
  void end_source(bool orderly);

  void receive_turn();
  void take(const Completion& completion);
  void copy_out(std::span<const std::byte> data);
  void show_forwarded(std::span<const std::byte> data);
  void send_or_hold(std::span<const std::byte> data);
  [[nodiscard]] bool send_with_turn(std::span<const std::byte> data);
  [[nodiscard]] std::size_t send_now(std::span<const std::byte> data);
  void flush();
  void flush_held();

  void splice_turn();
  [[nodiscard]] bool take_pipe();
  [[nodiscard]] bool show_taps();
  void flush_pipe();
  void copy_pipe_to_heap();
  void forget_detached();
  [[nodiscard]] bool may_splice() const;
  void judge_turn(std::size_t bytes);
  void stop_streaming();
  void follow_promotion();
  [[nodiscard]] std::uint32_t thread_turns() const;

  [[nodiscard]] std::size_t allowance() const;
  [[nodiscard]] std::size_t turn_allowance(std::size_t most);
  void spend(std::size_t bytes);
  [[nodiscard]] bool awaits_bandwidth();
  [[nodiscard]] std::size_t forwardable_bytes() const;
  [[nodiscard]] std::size_t below_watermark(std::size_t bytes) const;
  void flush_gathered();
  void moved_out(std::size_t bytes, bool spliced = false);
  void count(std::size_t bytes, bool spliced = false);

  Relay& relay_;
  Leg& source_;
  Leg& target_;
  Promotion promotion_;
  PipeLease pipe_;
  ByteQueue held_;                ///< waits for the target or a tap; precedes the pipe's bytes
  std::unique_ptr<TapSet> taps_;  ///< usually null
  std::unique_ptr<balance::Throttle> throttle_;  ///< null: no limit
  std::uint64_t received_bytes_ = 0;
  std::uint64_t forwarded_bytes_ = 0;
  std::uint64_t spliced_bytes_ = 0;
  TimePoint last_activity_;
  std::uint32_t shown_bytes_ = 0;  ///< at the head of the pipe: the taps have seen them
  Wait wait_ = Wait::nothing;
  Phase phase_ = Phase::running;
  /// How the direction ends: with `cut`, as soon as nothing is in flight; otherwise once nothing is
  /// held.
  End end_ = End::none;
};

}  // namespace sluice
