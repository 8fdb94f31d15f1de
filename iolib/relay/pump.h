#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

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

/// Moves one direction's bytes from one leg to another, by copying or by splicing, whichever suits
/// what it sees. It belongs to a Relay.
///
/// Each completion from the reactor is one bounded turn: one receive and one send, or one large
/// splice in and one out. The send goes out with the turn, and the next receive right behind it.
/// Between turns at most one more request is in flight, and at most one pipe, or kMaxHeldBytes on
/// the heap, is held; nothing new is read while something is, except while copied bytes wait for a
/// tap's watermark alone: they may be up to kMaxGatedBytes, so that what makes it rise is shared by
/// many receives.
class Pump final : private Operation, private Sender {
 public:
  /// What a direction may hold on the heap: what one receive could not send, or what is taken out
  /// of a paused pipe to give the pipe back.
  static constexpr std::size_t kMaxHeldBytes = 64 << 10;
  /// What it may hold of bytes that none but a tap's watermark holds up: a durable write takes as
  /// long as ten receives or more. With 64 KiB, 256 KiB and 1 MiB a stream made 0.3, 0.7 and 1.0
  /// times as much (tests/perf/RESULTS.md, "Recording").
  static constexpr std::size_t kMaxGatedBytes = 512 << 10;
  /// How long a pipe with no more than that in it may be paused before that happens.
  static constexpr Duration kPipePause = std::chrono::milliseconds(100);

  enum class End : std::uint8_t {
    none,
    eof,    ///< in order: all was forwarded, and the FIN passed on
    reset,  ///< its source was reset; all that had been received was forwarded
    cut,    ///< what was still held is lost
  };

  Pump(Relay& relay, Leg& source, Leg& target);
  ~Pump() override;

  /// Begins, with `held` (at most kMaxHeldBytes) as the first bytes of the stream, which somebody
  /// has received already; or goes on after a pause.
  void start(std::span<const std::byte> held = {});
  /// Ends the direction as soon as what is in flight has completed; what it holds is lost.
  void cut();

  /// Rests, keeping what it holds, as soon as what is in flight has completed; start() goes on.
  void pause();
  [[nodiscard]] bool paused() const { return phase_ == Phase::paused; }

  /// Whether it could go on with another thread. Pipes and taps belong to the thread that it is on.
  [[nodiscard]] bool may_move() const { return !pipe_ && !tapped(); }

  /// Attaches a tap that sees the bytes received from now on. A receive that is under way, and
  /// cannot be cancelled any more, may bring up to Reactor::kReceiveBytes before the tap is asked
  /// for its allowance.
  void attach(Tap& tap);
  void detach(Tap& tap);
  /// Tells the taps that nothing more will come.
  void close_taps();
  /// A tap can take bytes again, or its watermark rose.
  void wake();

  /// Housekeeping by the relay's timer: takes a little out of a pipe that has been paused for long.
  /// Returns when it wants to be called again, or TimePoint::max().
  [[nodiscard]] TimePoint tidy(TimePoint now);

  [[nodiscard]] bool ended() const { return phase_ == Phase::ended; }
  [[nodiscard]] End end() const { return ended() ? end_ : End::none; }
  [[nodiscard]] const Leg& source() const { return source_; }
  [[nodiscard]] const Leg& target() const { return target_; }
  /// When bytes were last received or forwarded.
  [[nodiscard]] TimePoint last_activity() const { return last_activity_; }
  [[nodiscard]] std::uint64_t received_bytes() const { return received_bytes_; }
  [[nodiscard]] std::uint64_t forwarded_bytes() const { return forwarded_bytes_; }
  /// Of the forwarded bytes, those that never were in user space.
  [[nodiscard]] std::uint64_t spliced_bytes() const { return spliced_bytes_; }
  /// Reads nothing for the time being, or ever again.
  [[nodiscard]] bool quiet() const {
    return ended() || wait_ == Wait::writable || wait_ == Wait::tap;
  }
  /// What it waits for is there, and the loop has not come to it yet.
  [[nodiscard]] bool is_ready() const;
  /// A tap holds it up: what it has, or all of it.
  [[nodiscard]] bool gated() const {
    return wait_ == Wait::tap || (wait_ != Wait::writable && !held_.empty());
  }
  [[nodiscard]] bool streaming() const { return promotion_.streaming(); }
  /// See Promotion.
  [[nodiscard]] bool heavy() const { return promotion_.heavy(); }
  [[nodiscard]] bool holds_pipe() const { return static_cast<bool>(pipe_); }
  [[nodiscard]] std::size_t held_bytes() const;
  [[nodiscard]] bool tapped() const { return taps_ != nullptr; }

 private:
  enum class Wait : std::uint8_t { nothing, receive, readable, writable, tap };
  enum class Phase : std::uint8_t {
    running,
    pausing,  ///< as soon as nothing is in flight it is ...
    paused,   ///< until start()
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
  [[nodiscard]] std::size_t forwardable_bytes() const;
  [[nodiscard]] std::size_t below_watermark(std::size_t bytes) const;
  void flush_gathered();
  void moved_out(std::size_t bytes);

  Relay& relay_;
  Leg& source_;
  Leg& target_;
  Promotion promotion_;
  PipeLease pipe_;
  ByteQueue held_;  ///< waits for the target, or for a tap; before what is in the pipe
  std::unique_ptr<TapSet> taps_;  ///< null in the usual case
  std::size_t shown_bytes_ = 0;   ///< at the head of the pipe: seen by the taps, may be forwarded
  std::uint64_t received_bytes_ = 0;
  std::uint64_t forwarded_bytes_ = 0;
  std::uint64_t spliced_bytes_ = 0;
  TimePoint last_activity_;
  Wait wait_ = Wait::nothing;
  Phase phase_ = Phase::running;
  /// How it ends: as its source, once nothing is held; cut, as soon as nothing is in flight.
  End end_ = End::none;
};

}  // namespace sluice
