#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "iolib/base/byte_queue.h"
#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/mirror/mirror.h"
#include "iolib/reactor/calling.h"
#include "iolib/reactor/connector.h"
#include "iolib/reactor/deferral.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/sender.h"
#include "iolib/reactor/timer.h"
#include "iolib/relay/tap.h"

namespace sluice::mirror {

/// One connection's mirror: a tap that sends what it sees to its own socket, and discards the
/// answers. It never makes the direction wait. Bytes that the socket does not take at once wait in
/// a bounded backlog, also while the stream connects. Small pieces wait there for a moment to be
/// gathered.
///
/// The stream ends as the direction ended, after the backlog: with a FIN or a reset. It outlives
/// the connection for at most Mirror::kDrainTime. If it ends earlier (it lags, the mirror breaks it
/// off or cannot be reached), it detaches itself: a mirror never gets a stream with a hole. A reset
/// by the mirror after it has received everything is a normal end. A stream that lags before it is
/// connected drops its backlog, waits for the connect to end, and reports the outcome to the
/// breaker.
///
/// Made and owned by its Mirror.
class Stream final : public Tap,
                     public PlaceInLine,
                     private Timer,
                     private Deferral,
                     private Sender {
 public:
  Stream(Mirror& mirror, const StreamOptions& options, bool probe);
  ~Stream() override;

  /// Sets the function that takes the tap off its direction. It is called at most once, and not
  /// after closed().
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
  /// The stream's state. In brackets: what happens at the state's step deadline.
  enum class State : std::uint8_t {
    pausing,     ///< waits kConnectPause after the connection began [asks for a turn]
    in_line,     ///< waits in the mirror's queue for its turn to connect
    connecting,  ///< tries all addresses for the first time
    resting,     ///< waits before the second round [connects again]
    retrying,    ///< tries all addresses for the second and last time
    current,     ///< open; only small pieces wait, to be gathered [sends them]
    behind,      ///< open; the backlog waits for the socket
    ending,      ///< everything is sent, including a FIN if there is one [checks for the end]
    gone,        ///< ended; operations may still be in flight
  };
  /// What follows the last byte.
  enum class End : std::uint8_t {
    none,  ///< more may come
    eof,
    reset,
    cut,  ///< lagged before it was connected: only waits to learn whether the connect succeeds
  };
  /// The most that the mirror has sent.
  enum class Heard : std::uint8_t { nothing, end, answer };
  // States and deadlines.
  [[nodiscard]] bool is_open() const { return state_ >= State::current && state_ <= State::ending; }
  [[nodiscard]] bool is_behind() const { return noted_ > 0 && state_ != State::current; }
  [[nodiscard]] bool may_enter(State next) const;
  void enter(State next);
  void note_lag() { enter(state_); }
  void set_step(TimePoint deadline);
  void step_is_due();
  void expired() override;
  void deferred() override { mirror_.remove(*this); }
  void arm();

  // Connecting.
  void begin();
  void ask_for_turn();
  void take_turn(bool charged);
  void connect(State state);
  void connect_ended(Result<Connected> outcome);
  void connected(Connected connected);
  void connect_failed();

  // Sending.
  [[nodiscard]] bool wants_more() const { return state_ != State::gone && end_ == End::none; }
  [[nodiscard]] bool follows(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] bool may_gather(std::size_t bytes) const;
  [[nodiscard]] bool is_due(std::size_t bytes);
  [[nodiscard]] bool flush_gathered();
  [[nodiscard]] std::size_t send_now(std::span<const std::byte> bytes);
  void splice_now(Pipe& pipe);
  [[nodiscard]] std::optional<Limit> keep(std::span<const std::byte> bytes);
  [[nodiscard]] std::optional<Limit> keep(Pipe& pipe);
  void kept(bool refused);
  void passed(std::size_t bytes);
  void sent(int result, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool keep_lent();
  void flush();
  void flush_now();
  void fall_behind();
  void pass_on_end();
  void writable(const Completion& completion);
  void await_writable();
  void discard(Pipe& pipe);

  // Answers, and the end.
  void readable(const Completion& completion);
  void await_readable();
  [[nodiscard]] ssize_t receive();
  void heard(Heard what);
  void look_at_end();
  void drain_time_is_over();
  void stop();
  [[nodiscard]] bool fin_sent() const { return state_ == State::ending && end_ == End::eof; }
  [[nodiscard]] bool is_unfinished() const;
  [[nodiscard]] bool lacks_bytes() const;
  void lagged(Limit limit);
  void leave_direction();
  [[nodiscard]] bool has_everything() const;
  void broken_off(const Error& error);
  void end(bool orderly);
  void go(bool orderly);
  void check_gone();
  [[nodiscard]] bool all_acknowledged() const;

  /// The state of a connect. Keeps its addresses, because the mirror may get others meanwhile.
  struct Connecting {
    explicit Connecting(Stream& stream);
    std::shared_ptr<const std::vector<Endpoint>> addresses;
    CallingConnector<&Stream::connect_ended> connector;
  };

  Mirror& mirror_;
  StreamOptions options_;
  std::function<void()> detach_;
  std::unique_ptr<Connecting> connecting_;
  OwnedFd fd_;
  ByteQueue backlog_;
  std::span<const std::byte> lent_;  ///< bytes of the queued send, if they are not of the backlog
  CallingOperation<&Stream::readable> reader_{*this};
  CallingOperation<&Stream::writable> writer_{*this};
  std::list<Stream>::iterator self_;
  std::uint64_t seen_ = 0;  ///< bytes of the direction seen so far
  std::uint64_t sent_ = 0;  ///< of these, passed to the socket
  std::size_t noted_ = 0;   ///< backlog bytes that the mirror's Count::lag includes
  TimePoint step_deadline_ = TimePoint::max();  ///< of the current state
  TimePoint drain_deadline_ = TimePoint::max();
  TimePoint proof_deadline_ = TimePoint::max();  ///< then the stream proves that the mirror is back
  TimePoint connected_at_ = TimePoint::min();
  TimePoint last_sent_ = TimePoint::min();
  Error error_;  ///< of the last connect
  State state_ = State::pausing;
  End end_ = End::none;
  Heard heard_ = Heard::nothing;
  const bool probe_;
  bool charged_ = false;  ///< the pace counted it, and has not yet heard what became of it
  bool unix_ = false;     ///< the socket is a unix socket
};

}  // namespace sluice::mirror
