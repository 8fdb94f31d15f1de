#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/timer.h"

namespace sluice {

/// A connection to one of several endpoints. TCP connections have TCP_NODELAY and keep-alives.
struct Connected {
  OwnedFd fd;             ///< call Reactor::forget() before closing it
  std::size_t which = 0;  ///< index of the endpoint
  int broken = 0;         ///< errno of a reset that has already arrived, or 0; see was_connected()
};

/// What a Connector connects to.
struct ConnectOptions {
  std::span<const Endpoint> endpoints;  ///< borrowed
  std::size_t first = 0;                ///< index of the first endpoint to try, modulo their number
  TimePoint deadline;                   ///< for all endpoints together
  /// The local address; null, or unnamed: any. Borrowed. Unix sockets have none.
  const SocketAddress* source = nullptr;
  bool choose_congestion = false;  ///< see choose_congestion_control()
  bool half_open = false;          ///< see hold_half_open(); no other option is then set
  /// The owner sends before its requests to the reactor are carried out. Without it, TCP_NODELAY
  /// can come after that, and sends what was to wait for more (MSG_MORE).
  bool sends_directly = false;
};

/// Tries endpoints in turn until one accepts. Each attempt gets an equal share of the remaining
/// time. If a unix socket's backlog is full, the attempt spends its share waiting for room. At its
/// time-out every attempt checks its socket once more, so a connection that is already established
/// counts.
///
/// From start() to ended(), the owner keeps the connector at one address and the endpoints alive.
class Connector : private Operation, private Timer {
 public:
  Connector(Reactor& reactor, const ConnectOptions& options)
      : reactor_(reactor), options_(options) {}

  /// Starts the first attempt. Call it once. It may call ended() before it returns.
  void start();
  /// Makes the connector end with ECANCELED soon; never calls ended() itself. Has no effect before
  /// start() or after the end.
  void cancel();
  /// Whether an attempt has timed out.
  [[nodiscard]] bool timed_out() const { return timed_out_; }

 private:
  enum class State : std::uint8_t { idle, trying, cancelled, ended };

  /// Called once, when nothing is in flight and no timer is set. The error is that of the last
  /// attempt that is not an is_own_failure(), or ENOENT if there are no endpoints. May destroy the
  /// connector.
  virtual void ended(Result<Connected> connected) = 0;

  void complete(const Completion& completion) override;
  void expired() override;
  void try_endpoints();
  void go_on(int outcome);
  [[nodiscard]] bool pursue(int outcome);
  void end(Result<Connected> connected);
  void close(bool by_reset);
  [[nodiscard]] bool has_source() const;
  [[nodiscard]] std::size_t which() const;
  [[nodiscard]] const Endpoint& endpoint() const { return options_.endpoints[which()]; }

  Reactor& reactor_;
  ConnectOptions options_;
  OwnedFd fd_;             ///< of the current attempt
  TimePoint until_;        ///< the end of the attempt's share
  std::size_t tried_ = 0;  ///< endpoints that failed
  Error error_;            ///< of the last attempt
  State state_ = State::idle;
  bool timed_out_ = false;
};

/// A connector that calls a member function of its owner, which it borrows.
template <auto Function>
class CallingConnector;
template <class Owner, void (Owner::*Function)(Result<Connected>)>
class CallingConnector<Function> final : public Connector {
 public:
  CallingConnector(Owner& owner, Reactor& reactor, const ConnectOptions& options)
      : Connector(reactor, options), owner_(owner) {}

 private:
  void ended(Result<Connected> connected) override { (owner_.*Function)(std::move(connected)); }
  Owner& owner_;
};

/// A connector for a coroutine: `co_await connector` starts it and gives its result.
class AwaitedConnector final : public Connector {
 public:
  using Connector::Connector;
  [[nodiscard]] bool await_ready() {
    start();
    return connected_.has_value();
  }
  void await_suspend(std::coroutine_handle<> waiter) { waiter_ = waiter; }
  [[nodiscard]] Result<Connected> await_resume() { return std::move(*connected_); }

 private:
  void ended(Result<Connected> connected) override {
    connected_.emplace(std::move(connected));
    if (waiter_) waiter_.resume();
  }
  std::optional<Result<Connected>> connected_;
  std::coroutine_handle<> waiter_;
};

}  // namespace sluice
