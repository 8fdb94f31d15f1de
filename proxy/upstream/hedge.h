#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/reactor/connector.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/timer.h"
#include "proxy/upstream/server.h"

namespace sluice {

/// Connects to a server and, if that takes long, to a second one too, which is the *hedge*. The
/// first to connect wins; the other one is cancelled, so that its server sees a reset at most.
///
/// `co_await` starts it, and resumes once neither connect is in flight. Until then the owner keeps
/// it at one address.
class HedgedConnector : private Timer {
 public:
  /// One of the two.
  struct Contender {
    ServerUse server;
    bool on_trial = false;   ///< see begin_trial()
    ConnectOptions options;  ///< its endpoints are the server's
  };
  /// The winner, or the last to fail. After cancel(), one that was cancelled, and ECANCELED.
  struct Outcome {
    ServerUse server;
    bool on_trial = false;
    Result<Connected> connected;
  };

  /// `hedge_after` 0: there is no hedge.
  HedgedConnector(Reactor& reactor, Contender first, Duration hedge_after)
      : reactor_(reactor), hedge_after_(hedge_after), first_(*this, std::move(first)) {}

  /// Ends both soon, with resets. Has no effect before the start or after the end.
  void cancel();

  [[nodiscard]] bool await_ready();
  void await_suspend(std::coroutine_handle<> waiter) { waiter_ = waiter; }
  [[nodiscard]] Outcome await_resume();

 private:
  enum class State : std::uint8_t {
    idle,
    racing,   ///< nobody has won, and one connect is in flight at least
    decided,  ///< the outcome is known; what is in flight has been cancelled
    over,
  };

  /// A contender and its connect.
  class Side final : public Connector {
   public:
    Side(HedgedConnector& race, Contender&& its)
        : Connector(race.reactor_, its.options), contender(std::move(its)), race_(race) {}
    Contender contender;  ///< its server is null once it has lost

   private:
    void ended(Result<Connected> connected) override { race_.ended(*this, std::move(connected)); }
    HedgedConnector& race_;
  };

  /// The first has not connected in time. Returns whom the hedge connects to; nothing if there is
  /// to be no hedge. Called once at most.
  virtual std::optional<Contender> hedge(const ServerRef& first) = 0;
  /// This one failed while the other goes on, or was cancelled (ECANCELED) since the race is
  /// decided. It is not the one that the outcome names.
  virtual void lost(Contender contender, const Error& error) = 0;

  void expired() override;
  void start(Side& side);
  void ended(Side& side, Result<Connected> connected);
  void decide(Side& by, Result<Connected> connected);

  Reactor& reactor_;
  Duration hedge_after_;
  Side first_;
  std::optional<Side> hedge_;
  Side* decided_by_ = nullptr;
  Result<Connected> connected_ = Error();  ///< of decided_by_
  std::coroutine_handle<> waiter_;
  std::uint8_t in_flight_ = 0;  ///< connects that have not ended
  State state_ = State::idle;
};

}  // namespace sluice
