#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <span>

#include "iolib/base/byte_queue.h"
#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/mirror/mirror.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/timer.h"
#include "iolib/relay/tap.h"

namespace sluice::mirror {

/// One connection's mirror: a tap that sends what it sees to a socket of its own, and throws away
/// what comes back. It never makes the direction wait. What the socket does not take at once waits
/// in a bounded backlog, also while the connection to the mirror is being made; and so do small
/// pieces, for a moment.
///
/// Ends as the direction ended, after the backlog: with a FIN, or a reset. It outlives the
/// connection for at most Mirror::kDrainTime. If it ends earlier (it lags, the mirror broke off or
/// cannot be reached) it detaches itself: a mirror never gets a stream with a hole. A reset that
/// comes once the mirror has everything is an end like any other. One that lags before it is
/// connected still waits for that, empty, and tells the breaker. Made and owned by its Mirror.
class Stream final : public Tap, private Timer {
 public:
  Stream(Mirror& mirror, const StreamOptions& options, bool probe);
  ~Stream() override;

  /// `detach` takes the tap off its direction; called at most once, and not after closed().
  void set_direction(std::function<void()> detach) { detach_ = std::move(detach); }

  [[nodiscard]] std::size_t allowance() override;
  void append(std::uint64_t offset, std::span<const std::byte> bytes) override;
  void append(std::uint64_t offset, Pipe& pipe) override;
  [[nodiscard]] bool after_forwarding() const override { return true; }
  void overrun(std::uint64_t offset, std::uint64_t bytes) override;
  void eof(std::uint64_t offset) override;
  void reset(std::uint64_t offset) override;
  void closed(const StreamTotals& totals) override;

 private:
  friend class Mirror;
  enum class State : std::uint8_t {
    connecting,
    pausing,  ///< before it connects, also for its turn, and before the retry
    open,
    gone,  ///< but for what is still in flight
  };
  enum class End : std::uint8_t { none, eof, reset };
  class Request final : public Operation {
   public:
    Request(Stream& stream, void (Stream::*then)(const Completion&))
        : stream_(stream), then_(then) {}

   private:
    void complete(const Completion& completion) override { (stream_.*then_)(completion); }
    Stream& stream_;
    void (Stream::*then_)(const Completion&);
  };

  // Connecting.
  void begin();
  void connect();
  [[nodiscard]] bool is_under_way(int outcome) const;
  void await_connect(int outcome);
  void connect_is_late();
  void connect_ended(int outcome);
  void end_of_wait(int outcome, bool is_late);
  void connected(int outcome);
  void round_failed();
  void pause(Duration time);
  void pause_is_over();
  void take_turn(bool charged);
  void close_socket();

  // Sending.
  [[nodiscard]] bool wants_more() const { return state_ != State::gone && !given_up_; }
  [[nodiscard]] bool follows(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] bool may_gather(std::size_t bytes) const;
  [[nodiscard]] bool is_due(std::size_t bytes);
  [[nodiscard]] bool flush_gathered();
  [[nodiscard]] std::size_t send_now(std::span<const std::byte> bytes);
  void splice_now(Pipe& pipe);
  [[nodiscard]] std::optional<Limit> keep(std::span<const std::byte> bytes);
  [[nodiscard]] std::optional<Limit> keep(Pipe& pipe);
  void kept(bool refused);
  void sent(std::size_t bytes);
  void flush();
  void note_lag();
  void fall_behind();
  void catch_up();
  void pass_on_end();
  void writable(const Completion& completion);
  void await_writable();
  void discard(Pipe& pipe);

  // Answers, and the end.
  void readable(const Completion& completion);
  void await_readable();
  [[nodiscard]] ssize_t receive();
  void lives();
  void look_at_end();
  void drain_time_is_over();
  void stop();
  [[nodiscard]] bool is_unfinished() const;
  [[nodiscard]] bool lacks_bytes() const;
  void lagged(Limit limit);
  void give_up();
  void leave_direction();
  [[nodiscard]] bool has_everything() const;
  void broken_off(const Error& error);
  void end(bool orderly);
  void go(bool orderly);
  void check_gone();
  void expired() override;
  void arm();
  [[nodiscard]] bool all_acknowledged() const;

  Mirror& mirror_;
  StreamOptions options_;
  std::function<void()> detach_;
  OwnedFd fd_;
  ByteQueue backlog_;
  Request reader_;
  Request writer_;
  std::list<Stream>::iterator self_;
  std::optional<std::list<Stream*>::iterator> place_;  ///< in the line
  std::uint64_t seen_ = 0;                             ///< bytes of the direction
  std::uint64_t sent_ = 0;                             ///< of these, handed to the socket
  std::size_t noted_ = 0;                              ///< of the backlog, in the mirror's sums
  TimePoint step_deadline_ = TimePoint::max();         ///< of a connect, a pause, gathering, a look
  TimePoint connect_deadline_ = TimePoint::max();      ///< of an address
  TimePoint drain_deadline_ = TimePoint::max();
  TimePoint proof_deadline_ = TimePoint::max();  ///< then the breaker may be closed
  TimePoint connected_at_ = TimePoint::min();
  TimePoint last_sent_ = TimePoint::min();
  Error error_;              ///< of the last connect
  Duration look_pause_;      ///< between looks at a send queue that the end waits for
  std::uint32_t tried_ = 0;  ///< addresses, in this round
  std::uint32_t which_ = 0;  ///< the address that is tried, or was connected to
  State state_ = State::connecting;
  End end_ = End::none;
  bool probe_;
  bool retried_ = false;  ///< or there is no use in it
  bool timed_out_ = false;
  bool given_up_ = false;  ///< detached, and only there to learn whether the mirror can be reached
  bool behind_ = false;    ///< the mirror does not take what is there: connecting, or slow
  bool fin_sent_ = false;
  bool charged_ = false;   ///< to the pace, which is to know what becomes of it
  bool lived_ = false;     ///< the mirror has given a sign of life on it
  bool answered_ = false;  ///< which was more than the end of its answers
  bool answers_ended_ = false;
  bool orderly_ = false;  ///< how the socket is to be closed
  bool unix_ = false;     ///< the socket is one
};

}  // namespace sluice::mirror
