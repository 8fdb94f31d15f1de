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

/// A connection to one of several endpoints.
struct Connected {
  OwnedFd fd;             ///< call Reactor::forget() before you close it
  std::size_t which = 0;  ///< of the endpoints
  int broken = 0;         ///< errno of a reset that has already come; see was_connected()
};

/// What a Connector connects to.
struct ConnectOptions {
  std::span<const Endpoint> endpoints;  ///< borrowed
  std::size_t first = 0;                ///< the endpoint to begin with, modulo their number
  TimePoint deadline;                   ///< for all endpoints together
  bool choose_congestion = false;       ///< see choose_congestion_control()
};

/// Tries endpoints in turn until one accepts. Each attempt gets an equal share of the time that is
/// left; an attempt that finds a unix socket's backlog full uses its share to wait for room. Every
/// attempt looks at its socket once more when its time is over: what has come by then is not late.
///
/// The owner keeps it at one address, and the endpoints alive, from start() to ended().
class Connector : private Operation, private Timer {
 public:
  Connector(Reactor& reactor, const ConnectOptions& options)
      : reactor_(reactor), options_(options) {}

  /// Called once. May call ended() before it returns.
  void start();
  /// Makes it end with ECANCELED, soon: ended() is never called from here. Without effect before
  /// start(), and after the end.
  void cancel();
  /// Whether an attempt has failed because its time was over.
  [[nodiscard]] bool timed_out() const { return timed_out_; }

 private:
  enum class State : std::uint8_t { idle, trying, cancelled, ended };

  /// Called once, when nothing is in flight and no timer is set. The error is that of the last
  /// attempt; ENOENT without endpoints. May destroy the connector.
  virtual void ended(Result<Connected> connected) = 0;

  void complete(const Completion& completion) override;
  void expired() override;
  void try_endpoints();
  void go_on(int outcome);
  [[nodiscard]] bool pursue(int outcome);
  void end(Result<Connected> connected);
  void close(bool by_reset);
  [[nodiscard]] std::size_t which() const;
  [[nodiscard]] const Endpoint& endpoint() const { return options_.endpoints[which()]; }

  Reactor& reactor_;
  ConnectOptions options_;
  OwnedFd fd_;             ///< of the attempt
  TimePoint until_;        ///< the end of the attempt's share
  std::size_t tried_ = 0;  ///< endpoints, in vain
  Error error_;            ///< of the last attempt
  State state_ = State::idle;
  bool timed_out_ = false;
};

/// A connector that calls a member function of its owner, which is borrowed.
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

/// A connector for a coroutine: `co_await connector` starts it and gives what becomes of it.
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
